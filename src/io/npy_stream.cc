#include "io/npy_stream.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "convnext/error.h"
#include "io/file.h"
#include "io/npy.h"

namespace convnext {

NpyRows::NpyRows(const std::filesystem::path& path, std::int64_t columns) : path_(path), columns_(columns) {
  std::string name = path.string() + ".rows-XXXXXX";
  descriptor_ = ::mkstemp(name.data());
  if (descriptor_ < 0) {
    throw Error(ErrorCode::kIo, fmt::format("cannot write '{}': {}", path.string(), std::strerror(errno)));
  }
  waiting_ = name;
}

NpyRows::~NpyRows() {
  ::close(descriptor_);
  ::unlink(waiting_.c_str());
}

void NpyRows::add(std::span<const float> row) {
  write_all(descriptor_, std::as_bytes(row), waiting_);
  ++rows_;
}

void NpyRows::finish() {
  const MappedFile file = MappedFile::open(waiting_);
  const Shape shape = {rows_, columns_};
  write_npy(path_, {.data = file.bytes().data(),
                    .dtype = DType::kF32,
                    .layout = Layout::kRowMajor,
                    .shape = shape,
                    .strides = contiguous_strides(shape)});
}

}  // namespace convnext
