// Which pictures are most like the first: similar_pictures MODEL PICTURE OTHER...
// All are embedded in one call; what is compared is the angle between their features.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>
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
  if (argc < 4) {
    std::fprintf(stderr, "usage: similar_pictures MODEL PICTURE OTHER...\n");
    return 2;
  }
  const auto model = convnext::Model::load(argv[1]);
  const std::span<char*> files(argv + 2, static_cast<std::size_t>(argc - 2));
  std::vector<convnext::Image> pictures;
  for (const char* file : files) pictures.push_back(convnext::Image::open(file));
  const convnext::Tensor embeddings = model.embed(pictures);  // (pictures, channels)
  const auto width = static_cast<std::size_t>(model.embedding_channels());
  const auto row = [&](std::size_t i) { return embeddings.values<float>().subspan(i * width, width); };

  std::vector<std::pair<double, const char*>> others;
  for (std::size_t i = 1; i < files.size(); ++i) others.emplace_back(cosine(row(0), row(i)), files[i]);
  std::sort(others.rbegin(), others.rend());
  for (const auto& [similarity, file] : others) std::printf("%6.3f  %s\n", similarity, file);
  return 0;
} catch (const convnext::Error& error) {
  std::fprintf(stderr, "similar_pictures: %s\n", error.what());
  return 1;
}
