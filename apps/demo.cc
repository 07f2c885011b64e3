// The demo of `make demo`: a photograph classified by the shipped model, and ConvNeXt-T held against timm's numbers.
//
// The first half is what any program can do with the library. The second looks inside it, for weights from a formula:
// real ones for ImageNet are 114 MB that somebody else publishes.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <vector>

#include "convnext/convnext.h"
#include "core/progress.h"
#include "engine/backend.h"
#include "io/safetensors.h"
#include "model/formula.h"
#include "model/registry.h"

namespace {

using namespace convnext;

constexpr const char* kModel = "models/convnext_cifar10.safetensors";
constexpr const char* kPicture = "examples/pictures/chelsea.png";
constexpr const char* kReference = "tests/goldens/networks/convnext_tiny_224.safetensors";
constexpr std::uint64_t kSeed = 1;  // of the reference's weights and input

std::string bar(double part, int width) {
  const int filled = static_cast<int>(std::lround(part * width));
  return std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(width - filled), '.');
}

void classify_photograph() {
  const Model model = Model::load(kModel);
  fmt::print("\n  {} (a photograph of a cat), by a ConvNeXt that this program trained on CIFAR-10\n\n", kPicture);
  for (const Prediction& prediction : model.classify(Image::open(kPicture), 5)) {
    fmt::print("    {:<12} {}  {:5.1f} %\n", prediction.label, bar(prediction.probability, 30),
               100 * prediction.probability);
  }
}

// Relative L2 distance between our logits and timm's.
double distance(std::span<const float> ours, std::span<const float> theirs) {
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    difference += std::pow(static_cast<double>(ours[i]) - theirs[i], 2);
    size += std::pow(static_cast<double>(theirs[i]), 2);
  }
  return std::sqrt(difference / size);
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

bool compare_with_timm() {
  const RegistryEntry& entry = architecture("convnext_tiny");
  const SafetensorsFile reference = SafetensorsFile::open(kReference);
  const auto backend = make_cpu_backend();
  const auto network = backend->compile(entry.network, formula_weights(entry.network, kSeed), Precision::kFp32);
  const Tensor input = formula_input("input", {1, 3, 224, 224}, kSeed);
  Tensor logits = Tensor::zeros({1, 1000});
  ThreadPool pool;
  Workspace workspace{.arena = {}, .pool = &pool};
  const OutputViews outputs{.logits = logits.view(), .pooled = {}, .stages = {}};

  std::vector<double> seconds;
  constexpr int kRuns = 15;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    network->run(input.view(Layout::kNchw), outputs, workspace);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(seconds);
  const double error = distance(logits.values<float>(), reference.tensors().at("logits").values<float>());
  constexpr double kAgrees = 5e-6;  // timm's own float32 is about 1e-6 from its float64

  fmt::print("\n  ConvNeXt-T at 224x224, weights from a formula\n\n");
  fmt::print("    agreement with timm   logits within {:.1e} of its float64 result: {}\n", error,
             error < kAgrees ? "the same network" : "NOT the same network");
  fmt::print("    pictures a second     {:.1f} (median of {}; best {:.1f}) on {} threads, {}\n", 1 / seconds[kRuns / 2],
             kRuns, 1 / seconds.front(), pool.threads(), backend->name());
  fmt::print("    memory                {:.0f} MB at the peak, of which {} are weights\n\n", peak_megabytes(),
             format_bytes(network->weight_bytes()));
  return error < kAgrees;
}

}  // namespace

int main() try {
  if (!std::filesystem::exists(kModel)) {
    fmt::print(stderr, "demo: there is no {} here: start it in the project's folder\n", kModel);
    return 1;
  }
  classify_photograph();
  return compare_with_timm() ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "demo: {}\n", error.what());
  return 1;
}
