#include "detect/coco_pictures.h"

#include <fmt/format.h>

#include "convnext/error.h"

namespace convnext {

CocoPictures CocoPictures::open(const std::filesystem::path& annotations, const std::filesystem::path& folder,
                                const CocoPicturesOptions& options) {
  CocoPictures result;
  result.folder_ = folder;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("there is no folder '{}' for the pictures of '{}'", folder.string(), annotations.string()));
  }
  CocoFields fields = CocoFields::for_training(/*masks=*/true);
  fields.areas = options.areas;
  result.has_areas_ = options.areas;
  result.dataset_ = read_coco_dataset(annotations, fields);
  std::int64_t dropped = 0, empty = 0;
  for (std::size_t i = 0; i < result.dataset_.pictures.size(); ++i) {
    const CocoPicture& picture = result.dataset_.pictures[i];
    OutlinedObjects objects =
        objects_to_learn(result.dataset_.annotations_of(picture), picture.height, picture.width, dropped);
    if (objects.boxes.empty()) ++empty;
    if (objects.boxes.empty() && options.only_with_objects) continue;
    result.kept_.push_back(i);
    result.objects_.push_back(std::move(objects));
  }
  std::vector<CocoWarning>& warnings = result.dataset_.warnings;
  if (dropped > 0 && !options.areas) {
    warnings.push_back({dropped,
                        "an annotation is a crowd, has a side of less than a pixel, or lies outside of its "
                        "picture: nothing is learned from it"});
  }
  if (empty > 0 && options.only_with_objects) {
    warnings.push_back({empty, "a picture has nothing to be learned from: it is left out"});
  }
  if (result.kept_.empty()) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' has no picture{}", annotations.string(),
                            options.only_with_objects && empty > 0 ? " with objects to learn from" : ""));
  }
  return result;
}

Image CocoPictures::image(std::size_t i, const DecodeOptions& options) const {
  Image image = Image::open(path(i), options);
  const CocoPicture& said = picture(i);
  if (image.width == said.width && image.height == said.height) return image;
  throw Error(ErrorCode::kMismatch,
              fmt::format("'{}' has {}x{} pixels, and '{}' says {}x{}", path(i).string(), image.width, image.height,
                          dataset_.path.string(), said.width, said.height));
}

}  // namespace convnext
