// What a stranger's C++ program does, with the public headers alone: prints the first pixel of a picture's input
// tensor, and what the shipped model takes the picture for.
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
    const auto model = convnext::Model::load("convnext_cifar10");
    std::printf("%s\n", model.classify(picture, 1).front().label.c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
  // An Error that the library throws is one that this program knows.
  try {
    convnext::Image::open("no_such_picture.png");
  } catch (const convnext::Error& error) {
    return error.code() == convnext::ErrorCode::kNotFound ? 0 : 1;
  }
  return 1;
}
