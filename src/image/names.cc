#include <fmt/format.h>

#include <array>
#include <stdexcept>

#include "convnext/error.h"
#include "convnext/image.h"

namespace convnext {
namespace {

template <typename Value>
struct Named {
  Value value;
  std::string_view name;
};

constexpr std::array<Named<Interpolation>, 5> kInterpolations = {{{Interpolation::kBox, "box"},
                                                                  {Interpolation::kBilinear, "bilinear"},
                                                                  {Interpolation::kHamming, "hamming"},
                                                                  {Interpolation::kBicubic, "bicubic"},
                                                                  {Interpolation::kLanczos, "lanczos"}}};

constexpr std::array<Named<CropMode>, 2> kCropModes = {{{CropMode::kCenter, "center"}, {CropMode::kSquash, "squash"}}};

template <typename Value, std::size_t count>
std::string_view find_name(const std::array<Named<Value>, count>& table, Value value) {
  for (const auto& known : table) {
    if (known.value == value) return known.name;
  }
  throw std::logic_error("name_of: not a value of its type");
}

template <typename Value, std::size_t count>
Value find_value(const std::array<Named<Value>, count>& table, std::string_view name, std::string_view what) {
  std::string all;
  for (const auto& known : table) {
    if (known.name == name) return known.value;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known.name);
  }
  throw Error(ErrorCode::kInvalidArgument, fmt::format("unknown {} '{}': expected one of {}", what, name, all));
}

}  // namespace

std::string_view name_of(Interpolation interpolation) { return find_name(kInterpolations, interpolation); }
std::string_view name_of(CropMode mode) { return find_name(kCropModes, mode); }

Interpolation interpolation_from_name(std::string_view name) {
  return find_value(kInterpolations, name, "interpolation");
}

CropMode crop_mode_from_name(std::string_view name) { return find_value(kCropModes, name, "crop mode"); }

}  // namespace convnext
