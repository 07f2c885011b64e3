#include "detect/coco_pictures.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "io/quoted.h"

namespace convnext {
namespace {

bool leads_out(const std::filesystem::path& file_name) {
  const std::filesystem::path direct = file_name.lexically_normal();
  return direct.has_root_path() || (!direct.empty() && *direct.begin() == "..");
}

void check_file_names(const CocoDataset& dataset, const std::filesystem::path& folder) {
  for (const CocoPicture& picture : dataset.pictures) {
    if (!leads_out(picture.file_name)) continue;
    throw Error(
        ErrorCode::kDamaged,
        fmt::format("the file_name of picture {} in '{}', {}, leads out of the folder '{}': give the folder that "
                    "all pictures lie in, and names from there on",
                    picture.id, dataset.path.string(), in_quotes(picture.file_name), folder.string()));
  }
}

}  // namespace

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
  check_file_names(result.dataset_, folder);
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

std::optional<CocoWarning> CocoPictures::missing() const {
  CocoWarning warning;
  for (std::size_t i = 0; i < size(); ++i) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path(i), ignored)) continue;
    if (warning.count++ == 0) warning.text = fmt::format("there is no picture {}", in_quotes(path(i).string()));
  }
  if (warning.count == 0) return std::nullopt;
  return warning;
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
