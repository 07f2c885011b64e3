#include "core/names.h"

#include "convnext/image.h"

namespace convnext {
namespace {

constexpr std::array kInterpolations = {
    Named<Interpolation>{Interpolation::kBox, "box"}, Named<Interpolation>{Interpolation::kBilinear, "bilinear"},
    Named<Interpolation>{Interpolation::kHamming, "hamming"}, Named<Interpolation>{Interpolation::kBicubic, "bicubic"},
    Named<Interpolation>{Interpolation::kLanczos, "lanczos"}};

constexpr std::array kCropModes = {Named<CropMode>{CropMode::kCenter, "center"},
                                   Named<CropMode>{CropMode::kSquash, "squash"},
                                   Named<CropMode>{CropMode::kBorder, "border"}};

constexpr std::array kPixelPipelines = {Named<PixelPipeline>{PixelPipeline::kTimm, "timm"},
                                        Named<PixelPipeline>{PixelPipeline::kTorchvision, "torchvision"},
                                        Named<PixelPipeline>{PixelPipeline::kTransformers, "transformers"},
                                        Named<PixelPipeline>{PixelPipeline::kDinov3, "dinov3"}};

}  // namespace

std::string_view name_of(Interpolation interpolation) { return find_name(kInterpolations, interpolation); }
std::string_view name_of(CropMode mode) { return find_name(kCropModes, mode); }
std::string_view name_of(PixelPipeline pipeline) { return find_name(kPixelPipelines, pipeline); }

Interpolation interpolation_from_name(std::string_view name) {
  return find_value(kInterpolations, name, "the interpolation");
}

CropMode crop_mode_from_name(std::string_view name) { return find_value(kCropModes, name, "the crop mode"); }

PixelPipeline pixel_pipeline_from_name(std::string_view name) {
  return find_value(kPixelPipelines, name, "the pixel pipeline");
}

}  // namespace convnext
