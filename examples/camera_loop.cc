// A stream of pictures through one network with one set of scratch memory, as a camera or a server would:
//   camera_loop MODEL PICTURE...
// Prints the best class of each picture, and how similar each is to the one before it.
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "convnext/convnext.h"

namespace {

double cosine(std::span<const float> a, std::span<const float> b) {
  double product = 0.0, length_a = 0.0, length_b = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    length_a += static_cast<double>(a[i]) * a[i];
    length_b += static_cast<double>(b[i]) * b[i];
  }
  return product / std::sqrt(length_a * length_b);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: camera_loop MODEL PICTURE...\n");
    return 2;
  }
  const auto model = convnext::Model::load(argv[1]);
  convnext::Context context(model);
  std::vector<float> previous;
  for (int i = 2; i < argc; ++i) {
    convnext::Tensor input = model.preprocess(convnext::Image::open(argv[i]));  // (3, side, side)
    convnext::ConstTensorView view = std::as_const(input).view(convnext::Layout::kNchw);
    view.shape.insert(view.shape.begin(), 1);  // a batch of one
    view.strides = convnext::contiguous_strides(view.shape);
    const auto outputs = model.run(view, context, {.logits = true, .pooled = true, .stages = false});
    const auto best = model.predictions(outputs.logits.values<float>(), 1).front();
    const auto features = outputs.pooled.values<float>();
    std::printf("%s: %s %.1f %%", argv[i], best.label.c_str(), 100 * best.probability);
    if (!previous.empty()) std::printf(", similarity to the one before %.3f", cosine(features, previous));
    std::printf("\n");
    previous.assign(features.begin(), features.end());
  }
  return 0;
} catch (const convnext::Error& error) {
  std::fprintf(stderr, "camera_loop: %s\n", error.what());
  return 1;
}
