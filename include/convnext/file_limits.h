// convnext/file_limits.h: how much of a file of weights is read at all.
#pragma once

#include <cstdint>

namespace convnext {

// Memory is only taken for what a file's own bytes pay for; these limits bound that in turn, for files that somebody
// else chose. The defaults are far beyond what is published. A file beyond one is refused: Error (kUnsupported) with
// the place, the figure found there, and the option of our programs that raises the limit. A limit that is itself out
// of the range given here is an Error (kInvalidArgument).
struct FileLimits {
  // Of what says which tensors there are: the header of safetensors, the pickled program of a PyTorch file, an index of
  // shards; and of a JSON file beside the weights. 1 to 10,000,000,000.
  std::int64_t max_header_bytes = 100'000'000;
  // Of values in values, in a pickled program or JSON. 1 to 2,000.
  std::int64_t max_nesting = 1000;
  // 1 to 100,000,000.
  std::int64_t max_tensors = 100'000;
  // Values that a pickled program makes, with the entries of its memo, or that a JSON file holds. 1 to 1,000,000,000.
  std::int64_t max_memo = 4'000'000;
  // Bytes that the deflated members of a zip archive unpack to, by those of the archive; the first 1,048,576 are free.
  // 1 to 1032, which is what deflate can do.
  std::int64_t max_zip_ratio = 100;
};

}  // namespace convnext
