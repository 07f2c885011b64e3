// Labelled pictures to learn from.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "convnext/thread_pool.h"

namespace convnext {

struct Sample {
  std::filesystem::path path;
  int label = 0;
};

struct Dataset {
  std::vector<std::string> classes;
  std::vector<Sample> samples;
};

// A folder of class folders. With `classes` the folders' names must be among them and give the labels; without, the
// sorted names are the classes. Throws Error (kMismatch) with the folder that is not a known class.
Dataset read_image_folder(const std::filesystem::path& root, std::span<const std::string> classes = {});

// The pictures of a dataset, resized and cropped, before any augmentation. They are kept in memory when all of them
// fit; otherwise each is decoded when it is asked for. get() may be called from any thread.
class PictureSource {
 public:
  // Decodes what fits with the pool. A picture that cannot be decoded is left out of `samples()` and listed in
  // `failures()` when the pictures are kept; otherwise get() throws.
  PictureSource(Dataset dataset, const Preprocessing& preprocessing, ThreadPool& pool,
                std::size_t memory_limit = std::size_t{2} << 30);

  const std::vector<Sample>& samples() const { return dataset_.samples; }
  const Preprocessing& preprocessing() const { return preprocessing_; }
  const std::vector<std::string>& failures() const { return failures_; }
  Image get(std::size_t index) const;

 private:
  Dataset dataset_;
  Preprocessing preprocessing_;
  std::vector<Image> kept_;  // as samples(), or empty
  std::vector<std::string> failures_;
};

}  // namespace convnext
