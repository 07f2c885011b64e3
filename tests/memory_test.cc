// How much memory a network takes: while it is loaded, and on pictures much larger than it was trained on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "kernels/isa.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/child_process.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

constexpr std::uint64_t kMegabyte = 1'000'000;

// Runs one input; the logits.
Tensor run(const Executable& executable, const NetworkConfig& config, const Tensor& input, Workspace& workspace) {
  const Shape& shape = input.shape();
  Tensor logits = Tensor::zeros(output_shapes(config, shape[0], shape[2], shape[3]).logits);
  OutputViews outputs;
  outputs.logits = logits.view();
  executable.run(input.view(Layout::kNchw), outputs, workspace);
  return logits;
}

struct LoadedAs {
  Precision precision;
  bool of_integers = false;  // the file, and not only what is made of it
};
class LoadedNetwork : public testing::TestWithParam<LoadedAs> {};
INSTANTIATE_TEST_SUITE_P(Precisions, LoadedNetwork,
                         testing::Values(LoadedAs{Precision::kFp32}, LoadedAs{Precision::kBf16},
                                         LoadedAs{Precision::kInt8}, LoadedAs{Precision::kInt8, true}),
                         [](const auto& test) {
                           return std::string(name_of(test.param.precision)) +
                                  (test.param.of_integers ? "_of_integers" : "");
                         });

// From a file of 114 MB (31 MB of integers) to answers, everything in a process of its own counted, on every
// instruction set but the portable one, which is slow. A file that stays in memory beside what is packed of it, or a
// copy of it in float32, would be 114 MB more.
TEST_P(LoadedNetwork, TakesLittleMoreThanItsPackedWeights) {
  const TemporaryFolder folder;
  const auto program = [&folder](std::vector<std::string> arguments, const std::string& isa = {}) {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    std::map<std::string, std::string> environment;
    if (!isa.empty()) environment["CONVNEXT_ISA"] = isa;
    const ChildResult result = run_child(arguments, {.folder = folder.path(), .environment = environment});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  std::string file = (folder / "tiny.safetensors").string();
  program({"init", "convnext_tiny", "--weights", "formula", "--output", file});
  if (GetParam().of_integers) {
    const std::string floats = file;
    file = (folder / "int8.safetensors").string();
    program({"quantize", floats, file, "--calibrate", CONVNEXT_SOURCE_DIR "/examples/pictures", "--max-drop", "100"});
  }
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::kPortable) continue;
    SCOPED_TRACE(name_of(isa));
    const std::string precision(name_of(GetParam().precision));
    const nlohmann::json measured = nlohmann::json::parse(
        program({"bench", "--model", file, "--precision", precision, "--threads", "2", "--seconds", "0", "--json"},
                std::string(name_of(isa))))[0];
    const auto packed = measured["weight_bytes"].get<std::uint64_t>();
    EXPECT_GT(packed, 28 * kMegabyte);
    EXPECT_LT(packed, 118 * kMegabyte);
    for (const char* peak : {"load_peak_memory_bytes", "peak_memory_bytes"}) {
      EXPECT_GT(measured[peak].get<std::uint64_t>(), packed) << peak;
      EXPECT_LT(measured[peak].get<std::uint64_t>(), packed * 13 / 10 + 16 * kMegabyte) << peak;
    }
  }
}

class LargePicture : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Grn, LargePicture, testing::Bool(),
                         [](const auto& test) { return test.param ? "with" : "without"; });

// What a network plans to use at 1500 x 1000 is two of its largest maps and a little for each thread; with GRN, whose
// statistics are the whole picture's, the hidden map comes to it, four times as large. A hidden map that is kept
// without need, or windows of a convolution gathered for the whole picture, would be more.
TEST_P(LargePicture, TakesTwoMapsAndWhatTheThreadsNeed) {
  NetworkConfig config = architecture("convnext_tiny").network;
  auto& network = std::get<ConvNextConfig>(config);
  network.depths = {1, 1, 1, 1};  // memory does not depend on them
  network.grn = GetParam();
  network.layer_scale = !GetParam();
  const auto executable = make_cpu_backend()->compile(config, formula_weights(config, 1), Precision::kFp32);
  ThreadPool pool(2);
  Workspace workspace;
  workspace.pool = &pool;
  const Tensor logits = run(*executable, config, formula_input("input", {1, 3, 1000, 1500}, 1), workspace);
  for (const float logit : logits.values<float>()) ASSERT_TRUE(std::isfinite(logit));
  const std::uint64_t map = std::uint64_t{250} * 375 * 96 * sizeof(float);
  const std::uint64_t maps = GetParam() ? 6 : 2;
  EXPECT_LT(workspace.arena.capacity(), maps * map * 11 / 10 + 8 * kMegabyte);
}

}  // namespace
}  // namespace convnext
