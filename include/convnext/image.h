// convnext/image.h: a decoded picture, and the way from there to the tensor that a network was trained on.
//
//   convnext::Image cat = convnext::Image::open("cat.jpg");
//   convnext::Tensor x = convnext::preprocess(cat, model.preprocessing());  // (3, 224, 224), float32
//
// which is the same as the steps it is made of:
//
//   convnext::Image small = convnext::resize_and_crop(cat, preprocessing);  // 8 bits a channel
//   convnext::normalize(small, preprocessing, x.values<float>());
//
// Decoding gives Pillow's bytes, and each step the bytes of the library whose arithmetic `pipeline` names: a network
// loses accuracy on pixels that are nearly right.
//
// Many files at once, on all threads, into one batch:
//
//   convnext::ThreadPool pool;
//   convnext::Tensor batch = convnext::preprocess_files(paths, model.preprocessing(), pool);  // (n, 3, 224, 224)
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/tensor.h"
#include "convnext/thread_pool.h"

#pragma GCC visibility push(default)
namespace convnext {

// Pillow's own limit for one picture: a quarter of a gigabyte of RGB pixels, doubled.
inline constexpr std::int64_t kDefaultMaxPixels = 178'956'970;

struct DecodeOptions {
  // What a decoder may spend on one picture. A header that promises more is refused before anything is allocated.
  std::int64_t max_pixels = kDefaultMaxPixels;
  // Turns the picture upright as its EXIF data say (Pillow's ImageOps.exif_transpose). Networks are trained and
  // measured without: timm, torchvision and the authors' own code take the pixels as they are stored.
  bool exif_orientation = false;
};

// 8-bit RGB, rows from the top, no padding: pixels[(y * width + x) * 3 + channel].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;

  // Decodes a JPEG, PNG or WebP file; the kind is told by its first bytes, not by its name. Grey pictures are spread to
  // three channels, transparency is dropped, an animation gives its first frame, colour profiles and gamma are not
  // applied: Pillow's Image.open(path).convert("RGB"). Throws Error, naming the file and what is wrong with it.
  static Image open(const std::filesystem::path& path, const DecodeOptions& options = {});

  // The same from memory; `name` stands for the file in messages.
  static Image decode(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options = {});

  // A copy of pixels in memory, such as a camera's frame: RGB, 8 bits a channel, rows from the top, `stride` bytes from
  // one row to the next (0: 3 * width). Throws Error (kInvalidArgument) unless `bytes` holds the rows.
  static Image from_rgb(std::span<const std::byte> bytes, int width, int height, std::size_t stride = 0);
};

// Resampling filters by Pillow's names. On reduction each widens its support by the scale (antialiasing).
enum class Interpolation { kBox, kBilinear, kHamming, kBicubic, kLanczos };

enum class CropMode {
  kCenter,  // the shorter side to resolution / crop_fraction, then the central square
  kSquash,  // both sides to resolution / crop_fraction whatever the aspect ratio, then the central square
  kBorder,  // the longer side to resolution / crop_fraction, then padded to the square with the mean colour
};

// Whose arithmetic it is. Each gives the very floats of its namesake; they differ by a step of 8 bits here and there.
enum class PixelPipeline {
  // timm's evaluation transform: Pillow's resize, crop at halves to even, (pixel / 255 - mean) / std.
  kTimm,
  // torchvision's v2 transforms on 8-bit tensors: a resize with 16-bit weights (bilinear, bicubic and lanczos), the
  // same crop, (pixel * (1 / 255) - mean) / std. The transform that DINOv3 was published with.
  kTorchvision,
  // Hugging Face's ConvNextImageProcessor: torchvision's resize, crop at halves down, (pixel - 255 mean) / (255 std).
  kTransformers,
  // Hugging Face's DINOv3ViTImageProcessor: pixel * (1 / 255), torch's antialiased resize of floats (bilinear alone),
  // the
  // same crop, (value - mean) / std. No 8-bit pixels lie between: what is trained on, and resize_and_crop(), takes
  // kTorchvision's.
  kDinov3,
};

inline constexpr int kMaxResolution = 4096;
inline constexpr double kMinCropFraction = 0.01, kMaxCropFraction = 1.0;

// From picture to input tensor (timm's pretrained_cfg: input_size, mean, std, interpolation, crop_pct, crop_mode).
struct Preprocessing {
  int resolution = 224;  // side of the square input, pixels, in [1, kMaxResolution]
  std::array<float, 3> mean = {0.485f, 0.456f, 0.406f};
  std::array<float, 3> std = {0.229f, 0.224f, 0.225f};
  Interpolation interpolation = Interpolation::kBicubic;
  double crop_fraction = 0.875;  // the crop's part of the resized side, in [kMinCropFraction, kMaxCropFraction]
  CropMode crop_mode = CropMode::kCenter;
  PixelPipeline pipeline = PixelPipeline::kTimm;

  bool operator==(const Preprocessing&) const = default;
};

// Pillow 13's Image.resize((width, height), filter): two passes of 8-bit arithmetic with 22-bit weights, bit for bit
// (libImaging/Resample.c). Sizes are at least 1.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

// The evaluation transform up to the crop, with the pipeline's resize (timm/data/transforms_factory.py), (resolution,
// resolution). kBorder pads on both sides.
Image resize_and_crop(const Image& image, const Preprocessing& preprocessing);

// out(c, y, x) = (pixel / 255 - mean(c)) / std(c) in float32, in the order and with the constants of the pipeline.
// `out` holds 3 * height * width values.
void normalize(const Image& image, const Preprocessing& preprocessing, std::span<float> out);

// resize_and_crop, then normalize, or what kDinov3 does: (3, resolution, resolution).
Tensor preprocess(const Image& image, const Preprocessing& preprocessing);
// The same to memory of the caller's: `out` holds as many values. Throws Error (kInvalidArgument) where it does not.
void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> out);

// A batch of files, (n, 3, resolution, resolution): decoded and preprocessed by all threads of the pool, in the order
// of `files`. Throws the Error of a file that cannot be read; to skip such ones, run Image::open() on the pool
// yourself.
Tensor preprocess_files(std::span<const std::filesystem::path> files, const Preprocessing& preprocessing,
                        ThreadPool& pool, const DecodeOptions& options = {});

// The names used in cards and on command lines: "bicubic", "center", ... Parsing throws Error with the known names.
std::string_view name_of(Interpolation interpolation);
std::string_view name_of(CropMode mode);
std::string_view name_of(PixelPipeline pipeline);
Interpolation interpolation_from_name(std::string_view name);
CropMode crop_mode_from_name(std::string_view name);
PixelPipeline pixel_pipeline_from_name(std::string_view name);

}  // namespace convnext
#pragma GCC visibility pop
