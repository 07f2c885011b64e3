// A .npy matrix whose number of rows is known only at its end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace convnext {

// Rows wait in a file beside the one to be written, so that memory does not grow with their number. Without finish()
// nothing is left behind.
class NpyRows {
 public:
  // Throws Error (kIo) at once when the folder of `path` cannot be written to.
  NpyRows(const std::filesystem::path& path, std::int64_t columns);
  ~NpyRows();
  NpyRows(const NpyRows&) = delete;
  NpyRows& operator=(const NpyRows&) = delete;

  // `row` has `columns` values.
  void add(std::span<const float> row);
  std::int64_t rows() const { return rows_; }

  // Writes the file, (rows, columns) float32, atomically. Call it once, last.
  void finish();

 private:
  std::filesystem::path path_;
  std::filesystem::path waiting_;
  int descriptor_ = -1;
  std::int64_t columns_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace convnext
