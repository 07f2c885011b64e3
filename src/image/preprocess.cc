#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "convnext/error.h"
#include "convnext/image.h"
#include "image/resize.h"

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;
constexpr int kMaxResolution = 4096;
constexpr double kMinCropFraction = 0.01;

void check(const Preprocessing& preprocessing) {
  const auto refuse = [](std::string_view what) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("preprocessing: {}", what));
  };
  if (preprocessing.resolution < 1 || preprocessing.resolution > kMaxResolution) {
    refuse(fmt::format("resolution is {}, expected 1 to {}", preprocessing.resolution, kMaxResolution));
  }
  if (!(preprocessing.crop_fraction >= kMinCropFraction && preprocessing.crop_fraction <= 2.0)) {
    refuse(fmt::format("crop fraction is {}, expected {} to 2", preprocessing.crop_fraction, kMinCropFraction));
  }
}

struct Size {
  std::int64_t width;
  std::int64_t height;
};

// What the picture is resized to before the crop.
Size resized_size(const Image& image, const Preprocessing& preprocessing) {
  const auto scale = std::max<std::int64_t>(
      static_cast<std::int64_t>(std::floor(preprocessing.resolution / preprocessing.crop_fraction)), 1);
  if (preprocessing.crop_mode == CropMode::kSquash) return {scale, scale};
  // The longer side is cut to a whole number, not rounded (torchvision's Resize).
  const auto longer = [scale](std::int64_t size, std::int64_t shorter) {
    return static_cast<std::int64_t>(static_cast<double>(scale * size) / static_cast<double>(shorter));
  };
  if (image.width <= image.height) return {scale, longer(image.height, image.width)};
  return {longer(image.width, image.height), scale};
}

// Where one axis of the crop lies.
struct CropAxis {
  std::int64_t from;  // first pixel taken of the resized picture
  int length;         // pixels taken
  int to;             // where they begin in the crop
};

CropAxis crop_axis(std::int64_t size, int resolution) {
  const std::int64_t spare = size - resolution;
  if (spare < 0) return {0, static_cast<int>(size), static_cast<int>(-spare / 2)};
  const std::int64_t half = spare / 2;
  return {spare % 2 == 0 ? half : half + half % 2, resolution, 0};  // halves go to the even side: Python's round()
}

}  // namespace

Image resize_and_crop(const Image& image, const Preprocessing& preprocessing) {
  check(preprocessing);
  if (image.width < 1 || image.height < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("preprocessing: a picture of {} x {}", image.width, image.height));
  }
  const int side = preprocessing.resolution;
  const Size size = resized_size(image, preprocessing);
  const CropAxis x = crop_axis(size.width, side);
  const CropAxis y = crop_axis(size.height, side);
  Image inside =
      resize_region(image, size.width, size.height, preprocessing.interpolation, {x.from, y.from, x.length, y.length});
  if (inside.width == side && inside.height == side) return inside;

  Image padded;
  padded.width = side;
  padded.height = side;
  const std::size_t stride = static_cast<std::size_t>(side) * kChannels;
  padded.pixels.assign(stride * static_cast<std::size_t>(side), 0);
  const std::size_t values = static_cast<std::size_t>(inside.width) * kChannels;
  for (int row = 0; row < inside.height; ++row) {
    std::memcpy(padded.pixels.data() + static_cast<std::size_t>(y.to + row) * stride +
                    static_cast<std::size_t>(x.to) * kChannels,
                inside.pixels.data() + static_cast<std::size_t>(row) * values, values);
  }
  return padded;
}

void normalize(const Image& image, const Preprocessing& preprocessing, std::span<float> out) {
  const std::size_t pixels = image.pixels.size() / kChannels;
  if (out.size() != pixels * kChannels || image.pixels.size() != out.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("normalize: a picture of {} bytes into {} values", image.pixels.size(), out.size()));
  }
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    const float mean = preprocessing.mean[channel];
    const float std = preprocessing.std[channel];
    if (!std::isfinite(mean) || !std::isfinite(std) || !(std > 0)) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("preprocessing: mean {} and std {} of channel {}, expected finite ones and std above 0",
                              mean, std, channel));
    }
    std::array<float, 256> table;
    for (std::size_t value = 0; value < table.size(); ++value) {
      table[value] = (static_cast<float>(value) / 255.0f - mean) / std;
    }
    float* const plane = out.data() + channel * pixels;
    const std::uint8_t* const samples = image.pixels.data() + channel;
    for (std::size_t i = 0; i < pixels; ++i) plane[i] = table[samples[i * kChannels]];
  }
}

Tensor preprocess(const Image& image, const Preprocessing& preprocessing) {
  const Image small = resize_and_crop(image, preprocessing);
  Tensor tensor = Tensor::zeros({static_cast<std::int64_t>(kChannels), small.height, small.width});
  normalize(small, preprocessing, tensor.values<float>());
  return tensor;
}

}  // namespace convnext
