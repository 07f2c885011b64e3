#include "plot/picture_format.h"

#include <fmt/format.h>

#include "convnext/error.h"

namespace convnext {
namespace {

// A point of a font is 4/3 pixels in PNG, and one in SVG.
constexpr double kPointsOfPngPixel = 0.75;

}  // namespace

std::string terminal_for(const std::filesystem::path& path, double width, double height) {
  constexpr int kFont = 14, kPngScale = 2;
  if (path.extension() == ".svg") {
    return fmt::format(
        "set terminal svg size {:.0f},{:.0f} fixed noenhanced rounded font 'sans-serif,{}' background rgb 'white'\n",
        width, height, kFont);
  }
  if (path.extension() == ".png") {
    return fmt::format(
        "set terminal pngcairo size {:.0f},{:.0f} noenhanced rounded font 'sans-serif,{}' fontscale {} linewidth {} "
        "pointscale {} background rgb 'white'\n",
        kPngScale * width, kPngScale * height, kPointsOfPngPixel * kFont, kPngScale, kPngScale, kPngScale);
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("cannot draw '{}': pictures are .svg or .png by their names", path.string()));
}

double font_size_for(const std::filesystem::path& path, double pixels) {
  return path.extension() == ".png" ? kPointsOfPngPixel * pixels : pixels;
}

}  // namespace convnext
