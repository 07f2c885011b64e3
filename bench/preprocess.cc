// From picture files to input tensors on one thread, step by step: bench_preprocess FOLDER [rounds]
//
// Files are read before the clock starts. Each round goes over all of them; the result is one line of JSON with the
// seconds a picture of each step, of each round.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "io/image_folder.h"
#include "io/picture_file.h"

namespace convnext {
namespace {

double seconds_of(const auto& function) {
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Round {
  double decode = 0.0;
  double resize = 0.0;
  double normalize = 0.0;
};

Round run(const std::vector<std::vector<std::byte>>& files, const Preprocessing& preprocessing) {
  Round round;
  Image image, small;
  std::vector<float> values(3 * static_cast<std::size_t>(preprocessing.resolution * preprocessing.resolution));
  for (const std::vector<std::byte>& file : files) {
    round.decode += seconds_of([&] { image = Image::decode(file, "picture"); });
    round.resize += seconds_of([&] { small = resize_and_crop(image, preprocessing); });
    round.normalize += seconds_of([&] { normalize(small, preprocessing, values); });
  }
  return round;
}

int benchmark(const std::string& folder, int rounds) {
  std::vector<std::vector<std::byte>> files;
  walk_pictures(folder, [&](const std::filesystem::path& path) {
    files.push_back(read_bytes({.path = path, .member = {}}));
    return true;
  });
  const Preprocessing preprocessing;  // 224, bicubic, 0.875
  run(files, preprocessing);
  nlohmann::ordered_json json = {{"decode", {}}, {"resize", {}}, {"normalize", {}}, {"whole", {}}};
  const auto count = static_cast<double>(files.size());
  for (int i = 0; i < rounds; ++i) {
    const Round round = run(files, preprocessing);
    json["decode"].push_back(round.decode / count);
    json["resize"].push_back(round.resize / count);
    json["normalize"].push_back(round.normalize / count);
    json["whole"].push_back((round.decode + round.resize + round.normalize) / count);
  }
  fmt::print("{}\n", json.dump());
  return 0;
}

}  // namespace
}  // namespace convnext

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: bench_preprocess FOLDER [rounds]\n");
    return 2;
  }
  return convnext::benchmark(argv[1], argc > 2 ? std::max(std::atoi(argv[2]), 1) : 10);
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_preprocess: {}\n", error.what());
  return 1;
}
