#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "convnext/error.h"
#include "convnext/image.h"
#include "image/resize.h"

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

void check(const Preprocessing& preprocessing) {
  const auto refuse = [](std::string_view what) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("preprocessing: {}", what));
  };
  if (preprocessing.resolution < 1 || preprocessing.resolution > kMaxResolution) {
    refuse(fmt::format("resolution is {}, expected 1 to {}", preprocessing.resolution, kMaxResolution));
  }
  if (!(preprocessing.crop_fraction >= kMinCropFraction && preprocessing.crop_fraction <= kMaxCropFraction)) {
    refuse(fmt::format("crop fraction is {}, expected {} to {}", preprocessing.crop_fraction, kMinCropFraction,
                       kMaxCropFraction));
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
  switch (preprocessing.crop_mode) {
    case CropMode::kSquash:
      return {scale, scale};
    case CropMode::kBorder: {
      // Rounded, halves to even (timm's ResizeKeepRatio). Where that leaves nothing of a side timm fails; we keep a
      // pixel.
      const double ratio = std::max(image.width, image.height) / static_cast<double>(scale);
      const auto scaled = [ratio](int side) {
        return std::max<std::int64_t>(static_cast<std::int64_t>(std::nearbyint(side / ratio)), 1);
      };
      return {scaled(image.width), scaled(image.height)};
    }
    case CropMode::kCenter:
      break;
  }
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

CropAxis crop_axis(std::int64_t size, int resolution, PixelPipeline pipeline) {
  const std::int64_t spare = size - resolution;
  if (spare < 0) return {0, static_cast<int>(size), static_cast<int>(-spare / 2)};
  const std::int64_t half = spare / 2;
  // timm and torchvision use Python's round(), by which halves go to the even side; Hugging Face's int() drops them.
  const bool drops = pipeline == PixelPipeline::kTransformers || pipeline == PixelPipeline::kDinov3;
  const bool up = !drops && spare % 2 != 0 && half % 2 != 0;
  return {up ? half + 1 : half, resolution, 0};
}

// What the picture is resized to, and the part of it that the crop keeps.
struct Placement {
  Size size;
  CropAxis x;
  CropAxis y;

  Region region() const { return {x.from, y.from, x.length, y.length}; }
};

Placement placement_of(const Image& image, const Preprocessing& preprocessing) {
  check(preprocessing);
  if (image.width < 1 || image.height < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("preprocessing: a picture of {} x {}", image.width, image.height));
  }
  const Size size = resized_size(image, preprocessing);
  return {size, crop_axis(size.width, preprocessing.resolution, preprocessing.pipeline),
          crop_axis(size.height, preprocessing.resolution, preprocessing.pipeline)};
}

Resampling resampling_of(const Preprocessing& preprocessing) {
  return {preprocessing.interpolation,
          preprocessing.pipeline == PixelPipeline::kTimm ? Resizer::kPillow : Resizer::kTorchvision};
}

// What kBorder puts around a picture that does not fill the crop.
std::array<std::uint8_t, kChannels> border_color(const Preprocessing& preprocessing) {
  std::array<std::uint8_t, kChannels> color{};
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    const double value = std::nearbyint(255.0 * preprocessing.mean[channel]);  // halves to even, as Python rounds
    color[channel] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
  }
  return color;
}

// What each of the 256 values becomes. One operation after the other in float32, as the pipeline has them: products
// with a rounded reciprocal, or a mean scaled first, differ in the last bit.
std::array<float, 256> normalized_values(float mean, float std, PixelPipeline pipeline) {
  std::array<float, 256> table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto value = static_cast<float>(i);
    switch (pipeline) {
      case PixelPipeline::kTimm:
        table[i] = (value / 255.0f - mean) / std;
        break;
      case PixelPipeline::kTorchvision:
      case PixelPipeline::kDinov3:
        table[i] = (value * static_cast<float>(1.0 / 255.0) - mean) / std;
        break;
      case PixelPipeline::kTransformers:
        table[i] = (value - mean * 255.0f) / (std * 255.0f);
        break;
    }
  }
  return table;
}

void check_statistics(const Preprocessing& preprocessing) {
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    const float mean = preprocessing.mean[channel];
    const float std = preprocessing.std[channel];
    if (std::isfinite(mean) && std::isfinite(std) && std > 0) continue;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("preprocessing: mean {} and std {} of channel {}, expected finite ones and std above 0",
                            mean, std, channel));
  }
}

// What kDinov3 makes of a picture: no 8 bits in between. A border has the mean colour, which comes to nothing.
void preprocess_floats(const Image& image, const Preprocessing& preprocessing, std::span<float> out) {
  if (preprocessing.interpolation != Interpolation::kBilinear) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("preprocessing: the pipeline {} knows bilinear interpolation, not {}",
                            name_of(preprocessing.pipeline), name_of(preprocessing.interpolation)));
  }
  const Placement at = placement_of(image, preprocessing);
  check_statistics(preprocessing);
  const auto side = static_cast<std::size_t>(preprocessing.resolution);
  const auto width = static_cast<std::size_t>(at.x.length), height = static_cast<std::size_t>(at.y.length);
  std::vector<float> inside(kChannels * width * height);
  resize_region_of_floats(image, at.size.width, at.size.height, at.region(), inside);
  std::ranges::fill(out, 0.0f);
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    const float mean = preprocessing.mean[channel], std = preprocessing.std[channel];
    for (std::size_t y = 0; y < height; ++y) {
      const float* const from = inside.data() + (channel * height + y) * width;
      float* const to = out.data() + (channel * side + static_cast<std::size_t>(at.y.to) + y) * side +
                        static_cast<std::size_t>(at.x.to);
      for (std::size_t x = 0; x < width; ++x) to[x] = (from[x] - mean) / std;
    }
  }
}

}  // namespace

Image resize_and_crop(const Image& image, const Preprocessing& preprocessing) {
  const Placement at = placement_of(image, preprocessing);
  const int side = preprocessing.resolution;
  Image inside = resize_region(image, at.size.width, at.size.height, resampling_of(preprocessing), at.region());
  if (inside.width == side && inside.height == side) return inside;

  Image padded;
  padded.width = side;
  padded.height = side;
  const std::size_t stride = static_cast<std::size_t>(side) * kChannels;
  padded.pixels.resize(stride * static_cast<std::size_t>(side));
  const auto border = border_color(preprocessing);
  for (std::size_t i = 0; i < padded.pixels.size(); i += kChannels) std::ranges::copy(border, &padded.pixels[i]);
  const std::size_t values = static_cast<std::size_t>(inside.width) * kChannels;
  for (int row = 0; row < inside.height; ++row) {
    std::memcpy(padded.pixels.data() + static_cast<std::size_t>(at.y.to + row) * stride +
                    static_cast<std::size_t>(at.x.to) * kChannels,
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
  check_statistics(preprocessing);
  std::array<std::array<float, 256>, kChannels> tables;
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    tables[channel] =
        normalized_values(preprocessing.mean[channel], preprocessing.std[channel], preprocessing.pipeline);
  }
  float* const red = out.data();
  float* const green = red + pixels;
  float* const blue = green + pixels;
  const std::uint8_t* pixel = image.pixels.data();
  for (std::size_t i = 0; i < pixels; ++i, pixel += kChannels) {
    red[i] = tables[0][pixel[0]];
    green[i] = tables[1][pixel[1]];
    blue[i] = tables[2][pixel[2]];
  }
}

void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> out) {
  check(preprocessing);
  const auto side = static_cast<std::size_t>(preprocessing.resolution);
  if (out.size() != kChannels * side * side) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("preprocess: a picture of {0} x {0} into {1} values", side, out.size()));
  }
  if (preprocessing.pipeline == PixelPipeline::kDinov3) {
    preprocess_floats(image, preprocessing, out);
  } else {
    normalize(resize_and_crop(image, preprocessing), preprocessing, out);
  }
}

Tensor preprocess(const Image& image, const Preprocessing& preprocessing) {
  check(preprocessing);
  const std::int64_t side = preprocessing.resolution;
  Tensor tensor = Tensor::zeros({static_cast<std::int64_t>(kChannels), side, side});
  preprocess(image, preprocessing, tensor.values<float>());
  return tensor;
}

Tensor preprocess_files(std::span<const std::filesystem::path> files, const Preprocessing& preprocessing,
                        ThreadPool& pool, const DecodeOptions& options) {
  check(preprocessing);
  const auto count = static_cast<std::int64_t>(files.size());
  const std::int64_t side = preprocessing.resolution;
  Tensor batch = Tensor::zeros({count, static_cast<std::int64_t>(kChannels), side, side});
  const std::size_t values = kChannels * static_cast<std::size_t>(side * side);
  pool.run(static_cast<int>(count), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    preprocess(Image::open(files[i], options), preprocessing, batch.values<float>().subspan(i * values, values));
  });
  return batch;
}

}  // namespace convnext
