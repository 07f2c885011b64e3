// Labelled pictures to learn from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "convnext/thread_pool.h"
#include "io/dataset.h"

namespace convnext {

struct HeldOut {
  Dataset training;
  Dataset held_out;
};

// Takes a part out of `dataset` to evaluate on: of each class `fraction` of its pictures, rounded, but at least one of
// two or more, and never all. Which ones depends on the seed and on the data alone; both parts keep their order. Throws
// Error (kInvalidArgument) unless `fraction` is in (0, 1).
HeldOut hold_out(Dataset dataset, double fraction, std::uint64_t seed);

// A quarter of the memory that this process may use; 2 GiB where that cannot be found out.
std::size_t default_picture_memory();

// What is kept of a picture, and what get() gives.
enum class KeptPicture {
  kResized,   // resized and cropped: the same view of it in every epoch
  kOriginal,  // as decoded, for crops of the whole
};

struct PictureSourceOptions {
  KeptPicture kept = KeptPicture::kResized;
  std::size_t memory_limit = default_picture_memory();  // for the pictures that are kept, bytes
};

struct Example {
  Image image;
  int label = 0;
};

// The pictures of a dataset before any augmentation. As many as fit are kept in memory, the first ones; each of the
// others is decoded when it is asked for. All may be called from any thread.
class PictureSource {
 public:
  // Decodes what will be kept, and looks at the header of all others, with the pool. Pictures that cannot be read are
  // left out of `samples()` and listed in `failures()`. Throws Error (kDamaged) when none is left.
  PictureSource(Dataset dataset, const Preprocessing& preprocessing, ThreadPool& pool,
                const PictureSourceOptions& options = {});

  const std::vector<Sample>& samples() const { return dataset_.samples; }
  const Preprocessing& preprocessing() const { return preprocessing_; }
  const std::vector<std::string>& failures() const { return failures_; }
  KeptPicture kept() const { return options_.kept; }
  std::size_t pictures_in_memory() const { return kept_.size(); }

  // The picture of samples()[index]. Throws Error when it is damaged behind its header and was not kept.
  Image get(std::size_t index) const;
  // The same with its label, for training: in the place of a picture that cannot be read comes the next one that can.
  // Throws Error (kDamaged) when a hundred in a row cannot.
  Example example(std::size_t index) const;
  // What example() could not read since the last call; each picture is told once.
  std::vector<std::string> new_failures() const;

 private:
  Image load(std::size_t index) const;
  void leave_out(std::vector<std::string>& errors);

  Dataset dataset_;
  Preprocessing preprocessing_;
  PictureSourceOptions options_;
  std::vector<Image> kept_;  // of the first samples
  std::vector<std::string> failures_;

  mutable std::mutex mutex_;  // of what follows
  mutable std::set<std::size_t> failed_later_;
  mutable std::vector<std::string> new_failures_;
};

}  // namespace convnext
