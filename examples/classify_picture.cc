// The shortest program that classifies a picture: classify_picture MODEL PICTURE
#include <cstdio>

#include "convnext/convnext.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fprintf(stderr, "usage: classify_picture MODEL PICTURE\n");
    return 2;
  }
  const auto model = convnext::Model::load(argv[1]);
  for (const auto& prediction : model.classify(convnext::Image::open(argv[2]), 3)) {
    std::printf("%5.1f %%  %s\n", 100 * prediction.probability, prediction.label.c_str());
  }
  return 0;
} catch (const convnext::Error& error) {
  std::fprintf(stderr, "classify_picture: %s\n", error.what());
  return 1;
}
