// A COCO file and the folder that its pictures lie in, as a detector learns from them.
//
//   const CocoPictures pictures = CocoPictures::open("instances_train.json", "train2017");
//   for (std::size_t i = 0; i < pictures.size(); ++i) {
//     const PreparedPicture ready = prepare(pictures.image(i), pictures.objects(i), draw);
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "detect/picture_objects.h"
#include "metrics/coco_file.h"

namespace convnext {

struct CocoPicturesOptions {
  bool only_with_objects = false;  // leaves out pictures that nothing is to be learned from, as mmdetection trains
  // To judge a detector: objects must have areas, and what nothing is learned from is no matter for a warning.
  bool areas = false;
};

class CocoPictures {
 public:
  // Reads annotations, not pictures. Throws Error as read_coco_dataset(), kNotFound when there is no such folder or no
  // picture is left, and kDamaged for a file_name that leads out of the folder: a file of annotations from anywhere
  // must not choose which files are opened.
  static CocoPictures open(const std::filesystem::path& annotations, const std::filesystem::path& folder,
                           const CocoPicturesOptions& options = {});

  std::size_t size() const { return kept_.size(); }
  const std::vector<CocoCategory>& categories() const { return dataset_.categories; }
  // All that the file says: crowds and pictures that were left out, too.
  const CocoDataset& dataset() const { return dataset_; }
  bool has_areas() const { return has_areas_; }
  // Of the file: what people should know of it, and what was left out.
  const std::vector<CocoWarning>& warnings() const { return dataset_.warnings; }

  const CocoPicture& picture(std::size_t i) const { return dataset_.pictures[kept_.at(i)]; }
  const OutlinedObjects& objects(std::size_t i) const { return objects_.at(i); }
  std::filesystem::path path(std::size_t i) const { return folder_ / picture(i).file_name; }
  // How many are no files, as a warning; nothing when all are there. Looks at every one.
  std::optional<CocoWarning> missing() const;
  // Decoded. Throws Error as Image::open(), and kMismatch when the picture has not the size that the file says: then
  // its boxes are another picture's.
  Image image(std::size_t i, const DecodeOptions& options = {}) const;

 private:
  CocoDataset dataset_;
  std::filesystem::path folder_;
  bool has_areas_ = false;
  std::vector<std::size_t> kept_;         // numbers in dataset_.pictures
  std::vector<OutlinedObjects> objects_;  // of those
};

}  // namespace convnext
