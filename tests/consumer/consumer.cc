// Opens a picture and prints the first pixel of its input tensor, with the public headers alone.
//   consumer PICTURE
#include <cstdio>
#include <exception>

#include "convnext/convnext.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer PICTURE\n");
    return 2;
  }
  try {
    const convnext::Image picture = convnext::Image::open(argv[1]);
    const convnext::Tensor input = convnext::preprocess(picture, convnext::Preprocessing{});
    const auto values = input.values<float>();
    const std::size_t plane = values.size() / 3;
    std::printf("%dx%d picture, first pixel %.4f %.4f %.4f\n", picture.width, picture.height, values[0], values[plane],
                values[2 * plane]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
}
