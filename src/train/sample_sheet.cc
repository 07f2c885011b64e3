#include "train/sample_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr int kShortestSide = 96;
constexpr int kBorder = 2;
constexpr std::uint8_t kBorderGrey = 235;  // lighter than nearly all pictures, and told from the page around the sheet

// Copies `picture` into `sheet` with its corner at (left, top), each pixel a square of `factor`.
void place(const Image& picture, int left, int top, int factor, Image& sheet) {
  for (int y = 0; y < picture.height * factor; ++y) {
    const std::uint8_t* from = picture.pixels.data() + static_cast<std::ptrdiff_t>(y / factor) * picture.width * 3;
    std::uint8_t* to = sheet.pixels.data() + (static_cast<std::ptrdiff_t>(top + y) * sheet.width + left) * 3;
    for (int x = 0; x < picture.width * factor; ++x, to += 3) std::memcpy(to, from + x / factor * 3, 3);
  }
}

std::uint8_t to_byte(float value) {
  // The comparison is false for NaN.
  return value > 0.0f ? static_cast<std::uint8_t>(std::lround(std::min(value, 255.0f))) : std::uint8_t{0};
}

}  // namespace

Image sample_sheet(std::span<const Image> pictures, int columns) {
  if (pictures.empty() || columns < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot make a sheet of {} pictures in {} columns", pictures.size(), columns));
  }
  const int width = pictures[0].width, height = pictures[0].height;
  for (const Image& picture : pictures) {
    const bool whole =
        picture.width > 0 && picture.height > 0 &&
        picture.pixels.size() == static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) * 3;
    if (!whole || picture.width != width || picture.height != height) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("a sheet needs pictures of one size: {} x {} stands beside {} x {}", picture.width,
                              picture.height, width, height));
    }
  }
  const int longer = std::max(width, height);
  const int factor = std::max(1, (kShortestSide + longer - 1) / longer);
  const auto count = static_cast<std::int64_t>(pictures.size());
  const std::int64_t across = std::min<std::int64_t>(columns, count), down = (count + across - 1) / across;
  const std::int64_t cell_width = std::int64_t{width} * factor + kBorder;
  const std::int64_t cell_height = std::int64_t{height} * factor + kBorder;
  const std::int64_t sheet_width = across * cell_width + kBorder, sheet_height = down * cell_height + kBorder;
  constexpr std::int64_t kLargestSide = 1'000'000;  // PNG writers' own limit
  if (std::max(sheet_width, sheet_height) > kLargestSide || sheet_width * sheet_height > kDefaultMaxPixels) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a sheet of {} pictures of {} x {} would have {} x {} pixels: show fewer", count, width,
                            height, sheet_width, sheet_height));
  }

  Image sheet{.width = static_cast<int>(sheet_width), .height = static_cast<int>(sheet_height), .pixels = {}};
  sheet.pixels.assign(static_cast<std::size_t>(sheet_width * sheet_height * 3), kBorderGrey);
  for (std::int64_t i = 0; i < count; ++i) {
    place(pictures[static_cast<std::size_t>(i)], static_cast<int>(kBorder + i % across * cell_width),
          static_cast<int>(kBorder + i / across * cell_height), factor, sheet);
  }
  return sheet;
}

std::vector<Image> denormalize(std::span<const float> batch, int width, int height,
                               const Preprocessing& preprocessing) {
  const std::size_t values =
      static_cast<std::size_t>(std::max(width, 0)) * static_cast<std::size_t>(std::max(height, 0)) * 3;
  if (values == 0 || batch.size() % values != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} values are no batch of RGB pictures of {} x {}", batch.size(), width, height));
  }
  std::vector<Image> pictures;
  for (; !batch.empty(); batch = batch.subspan(values)) {
    Image picture{.width = width, .height = height, .pixels = std::vector<std::uint8_t>(values)};
    for (std::size_t i = 0; i < values; ++i) {
      picture.pixels[i] = to_byte((batch[i] * preprocessing.std[i % 3] + preprocessing.mean[i % 3]) * 255.0f);
    }
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace convnext
