// SVG or PNG: what a picture's file is called decides.
#pragma once

#include <filesystem>
#include <string>

namespace convnext {

// The line of a gnuplot script that makes it draw `width` x `height` pixels in the format of `path`: .svg, or .png with
// twice as many pixels, for print. Throws Error (kInvalidArgument) for any other ending.
std::string terminal_for(const std::filesystem::path& path, double width, double height);

// What a script has to call a font of so many pixels in the format of `path`.
double font_size_for(const std::filesystem::path& path, double pixels);

}  // namespace convnext
