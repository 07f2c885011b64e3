// Files read, and written for ourselves and for other libraries: there and back.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/file.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/inspection.h"
#include "model/registry.h"
#include "temporary_folder.h"
#include "tests/layout_networks.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// There and back.

struct Journey {
  const char* name;
  const char* network;  // registered; widths and depths are replaced
  WrittenLayout layout;
};

TEST(ReadCheckpoint, AFileOfNoConvNextIsRefusedWithItsNamesSpelledOut) {
  const TemporaryFolder folder;
  const Tensor tensor = Tensor::zeros({2});
  const auto holding = [&](const std::vector<std::string>& names) {
    std::map<std::string, ConstTensorView> tensors;
    for (const std::string& name : names) tensors.emplace(name, tensor.view());
    write_safetensors(folder / "x.safetensors", tensors, {});
    try {
      read_checkpoint(folder / "x.safetensors");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(holding({"a", "b\x1b[2J"}), testing::EndsWith("it holds 'a', 'b\\x1b[2J'"));
  EXPECT_THAT(holding({"a", "b", "c", "d"}), testing::EndsWith("it holds 'a', 'b', 'c', ..."));
}

std::string bytes_of(const fs::path& path) { return read_text(path); }

testing::AssertionResult same_weights(const WeightStore& a, const WeightStore& b, bool compare_shapes = true) {
  if (a.all().size() != b.all().size()) return testing::AssertionFailure() << "not the same count";
  for (const auto& [name, view] : a.all()) {
    if (!b.contains(name)) return testing::AssertionFailure() << "no " << name;
    const ConstTensorView& other = b.at(name);
    const std::size_t size = static_cast<std::size_t>(view.count()) * size_of(view.dtype);
    if (view.dtype != other.dtype || view.count() != other.count() || (compare_shapes && view.shape != other.shape)) {
      return testing::AssertionFailure() << name << " is " << to_string(view.shape) << " and "
                                         << to_string(other.shape);
    }
    if (!std::equal(view.data, view.data + size, other.data)) return testing::AssertionFailure() << name;
  }
  return testing::AssertionSuccess();
}

class ThereAndBack : public testing::TestWithParam<Journey> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(ThereAndBack, IsTheSameFileBitForBit) {
  Card card = small_card(GetParam().network);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const WeightStore weights = converted(formula_weights(card.network, 1), dtype);
    card.precision = precision_name(dtype);
    write_checkpoint(folder_ / "own.safetensors", card, weights);
    for (const char* path : {"there.safetensors", "folder/"}) {
      SCOPED_TRACE(path);
      export_checkpoint(folder_ / path, card, weights, GetParam().layout);
      const Checkpoint there = read_checkpoint(folder_ / path);
      EXPECT_TRUE(there.has_card);
      EXPECT_EQ(there.card.network, card.network);
      export_checkpoint(folder_ / "back.safetensors", there.card, there.weights, WrittenLayout::kOwn);
      EXPECT_TRUE(bytes_of(folder_ / "back.safetensors") == bytes_of(folder_ / "own.safetensors"));
      EXPECT_TRUE(same_weights(there.weights, weights));
    }
  }
}

// A PyTorch file has no card: it gives back the network that computes the same, or is not written.
TEST_P(ThereAndBack, APyTorchFileIsTheSameNetworkOrRefused) {
  const Card card = small_card(GetParam().network);
  const auto& network = std::get<ConvNextConfig>(card.network);
  const fs::path path = folder_ / "there.pth";
  if (network.norm == Norm::kSimpleNorm) {
    expect_error(ErrorCode::kUnsupported, {"there.pth", "norm simple_norm", "rms_norm", "safetensors"},
                 [&] { export_checkpoint(path, card, formula_weights(network, 1), GetParam().layout); });
    EXPECT_FALSE(fs::exists(path));
    return;
  }
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const WeightStore weights = converted(formula_weights(network, 1), dtype);
    export_checkpoint(path, card, weights, GetParam().layout);
    const Checkpoint there = read_checkpoint(path);
    EXPECT_FALSE(there.has_card);
    // How linears are kept is the only thing that may change, and only where the layout keeps them in one way.
    ConvNextConfig back = std::get<ConvNextConfig>(there.card.network);
    EXPECT_TRUE(back.conv_mlp == network.conv_mlp || there.layout != WeightLayout::kTimm);
    EXPECT_TRUE(same_weights(there.weights, weights, /*compare_shapes=*/back.conv_mlp == network.conv_mlp));
    back.conv_mlp = network.conv_mlp;
    // With eight channels the first convolution of both stems has as many.
    if (network.stem == Stem::kOverlapTiered && back.stem == Stem::kOverlap) back.stem = network.stem;
    EXPECT_EQ(back, network);
  }
}

TEST(ExportCheckpoint, APyTorchFileThatWouldBeAnotherNetworkIsRefused) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& what, void (*change)(ConvNextConfig&)) {
    Card card = small_card("convnext_tiny");
    auto& network = std::get<ConvNextConfig>(card.network);
    change(network);
    const WeightStore weights = formula_weights(network, 1);
    for (const char* path : {"x.pth", "x.pt", "x.bin"}) {
      expect_error(ErrorCode::kUnsupported, {path, what, "safetensors"},
                   [&] { export_checkpoint(folder / path, card, weights, WrittenLayout::kOwn); });
      EXPECT_FALSE(fs::exists(folder / path));
    }
    export_checkpoint(folder / "x.safetensors", card, weights, WrittenLayout::kOwn);
    EXPECT_EQ(read_checkpoint(folder / "x.safetensors").card.network, card.network);
  };
  refused("activation silu", [](ConvNextConfig& network) { network.activation = Activation::kSilu; });
  refused("norm eps 0.001", [](ConvNextConfig& network) { network.norm_eps = 1e-3; });
  refused("head eps 1e-12", [](ConvNextConfig& network) { network.head_norm_eps = 1e-12; });
  refused("norm simple_norm", [](ConvNextConfig& network) { network.norm = Norm::kSimpleNorm; });
}

// Without a card the network comes from the tensors, and for a registered one nothing is lost.
TEST_P(ThereAndBack, ABareFileOfARegisteredNetworkIsTheNetwork) {
  const ConvNextConfig network = registered_convnext(GetParam().network);
  Card card = small_card(GetParam().network);
  card.network = network;
  WeightStore empty;
  const TensorViews own = shapes_of(network);
  for (const auto& [name, view] : own) empty.add(name, view, nullptr);
  const TensorViews there = export_weights(empty, card, GetParam().layout);
  const RecognizedWeights recognized = recognize(there);
  std::vector<std::string> notes;
  EXPECT_EQ(infer_network(recognized, "file", notes), NetworkConfig(network));
  EXPECT_THAT(find_misfits(recognized, network), IsEmpty());
}

using enum WrittenLayout;
INSTANTIATE_TEST_SUITE_P(
    Each, ThereAndBack,
    testing::Values(Journey{"own", "convnext_tiny", kOwn}, Journey{"own_ols", "convnext_atto_ols", kOwn},
                    Journey{"own_rms", "convnext_zepto_rms_ols", kOwn},
                    Journey{"own_isotropic", "convnext_isotropic_small", kOwn}, Journey{"timm", "convnext_tiny", kTimm},
                    Journey{"timm_nano_ols", "convnext_nano_ols", kTimm},
                    Journey{"timm_hnf", "convnext_tiny_hnf", kTimm}, Journey{"timm_mlp", "convnext_large_mlp", kTimm},
                    Journey{"timm_v2", "convnextv2_atto", kTimm}, Journey{"fb", "convnext_tiny", kFb},
                    Journey{"fb_small", "convnext_atto", kFb}, Journey{"fb_v2", "convnextv2_tiny", kFb},
                    Journey{"fb_isotropic", "convnext_isotropic_small", kFb},
                    Journey{"fb_isotropic_scaled", "convnext_isotropic_large", kFb},
                    Journey{"fb_dinov3", "dinov3_convnext_tiny", kFb},
                    Journey{"torchvision", "convnext_tiny", kTorchvision},
                    Journey{"torchvision_atto", "convnext_atto", kTorchvision}, Journey{"hf", "convnext_tiny", kHf},
                    Journey{"hf_v2", "convnextv2_tiny", kHf}, Journey{"hf_v2_atto", "convnextv2_atto", kHf},
                    Journey{"hf_dinov3", "dinov3_convnext_tiny", kHf}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ExportWeights, WhatALayoutCannotSayIsAnError) {
  const auto refused = [](std::string_view name, WrittenLayout layout, const std::string& reason) {
    const Card card = small_card(name);
    expect_error(ErrorCode::kUnsupported, {std::string(name_of(layout)), reason},
                 [&] { export_weights(formula_weights(card.network, 1), card, layout); });
  };
  refused("convnextv2_tiny", kTorchvision, "V2");
  refused("convnext_isotropic_small", kTorchvision, "isotropic");
  refused("convnext_isotropic_small", kHf, "isotropic");
  refused("convnext_isotropic_small", kTimm, "isotropic");
  refused("convnext_atto_ols", kFb, "overlap_tiered");
  refused("convnext_nano_ols", kHf, "overlap");
  refused("convnext_zepto_rms", kHf, "simple_norm");
  refused("convnext_tiny_hnf", kTorchvision, "norm_pool");
  refused("convnext_large_mlp", kFb, "mlp");
  refused("dinov3_convnext_tiny", kTorchvision, "classifier");
  refused("convnext_xxlarge", kFb, "1e-05");
  refused("test_convnext3", kFb, "eps");
}

// timm's network with patches of 2x2 has a layer more.
TEST(ExportWeights, TimmHasNoPatchesOfTwo) {
  Card card = small_card("convnext_tiny");
  std::get<ConvNextConfig>(card.network).patch_size = 2;
  const WeightStore weights = formula_weights(card.network, 1);
  expect_error(ErrorCode::kUnsupported, {"timm", "2x2"}, [&] { export_weights(weights, card, kTimm); });
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
}

// Networks of other families.
Card other_family_card(std::string_view name) {
  Card card;
  card.architecture = name;
  card.network = architecture(name).network;
  card.preprocessing = architecture(name).preprocessing;
  set_class_count(card.network, 7);
  return card;
}

const std::vector<std::string>& other_family_names() {
  static const std::vector<std::string> names = {"resnet50",
                                                 "regnety_040",
                                                 "efficientnet_b0",
                                                 "tf_efficientnet_b0",
                                                 "deit_tiny_patch16_224",
                                                 "deit_tiny_distilled_patch16_224",
                                                 "swin_tiny_patch4_window7_224"};
  return names;
}

TEST(OtherFamilyFiles, OwnFilesComeBackBitForBitWithWhatACardChanges) {
  const TemporaryFolder folder;
  for (const RegistryEntry& entry : registry()) {
    if (std::holds_alternative<ConvNextConfig>(entry.network)) continue;
    SCOPED_TRACE(entry.name);
    Card card = other_family_card(entry.name);
    std::visit(
        []<typename Config>(Config& network) {
          network.input_channels = 4;
          if constexpr (requires { network.norm_eps; }) network.norm_eps = 3e-4;
          // Small files; their kinds of tensors are the same.
          if constexpr (requires { network.depths; }) network.depths.assign(network.depths.size(), 1);
          if constexpr (requires { network.depth; }) network.depth = 1;
          if constexpr (std::is_same_v<Config, ResNetConfig>) network.dims = {16, 32, 64, 128};
          if constexpr (std::is_same_v<Config, RegNetConfig>) network.dims.assign(network.dims.size(), 16);
          if constexpr (std::is_same_v<Config, EfficientNetConfig>) {
            network.dims.assign(network.dims.size(), 16);
            network.head_width = 32;
          }
          if constexpr (std::is_same_v<Config, VisionTransformerConfig>) network.dim = 8 * network.heads;
          if constexpr (std::is_same_v<Config, SwinConfig>) {
            std::ranges::transform(network.heads, network.dims.begin(), [](int heads) { return 8 * heads; });
          }
        },
        card.network);
    const WeightStore weights = formula_weights(card.network, 3);
    const fs::path path = folder / "own.safetensors";
    export_checkpoint(path, card, weights, WrittenLayout::kOwn);
    const Checkpoint back = read_checkpoint(path);
    EXPECT_TRUE(back.has_card);
    EXPECT_EQ(back.card.network, card.network);
    EXPECT_EQ(back.card.architecture, entry.name);
    EXPECT_TRUE(same_weights(back.weights, weights));
  }
}

TEST(OtherFamilyFiles, BareFilesAreTheNetworkThatTheUserOrTheNameSays) {
  const TemporaryFolder folder;
  for (const std::string& name : other_family_names()) {
    SCOPED_TRACE(name);
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    for (const std::string& file : {std::string("any.safetensors"), name + ".safetensors"}) {
      const fs::path path = folder / file;
      write_safetensors(path, {weights.all().begin(), weights.all().end()}, {});
      const Checkpoint named = read_checkpoint(path, name);
      EXPECT_FALSE(named.has_card);
      EXPECT_EQ(named.card.network, card.network);
      EXPECT_TRUE(same_weights(named.weights, weights));
      const Checkpoint found = read_checkpoint(path);
      EXPECT_TRUE(have_same_tensors(found.card.network, card.network));
      EXPECT_EQ(class_count(found.card.network), 7);
    }
  }
  // Two networks with the same tensors: the name decides, and without one it is said what was taken.
  const Checkpoint any = read_checkpoint(folder / "any.safetensors", "swin_tiny_patch4_window7_224");
  EXPECT_EQ(any.origins.at("architecture"), "--architecture");
  const Card tensorflow = other_family_card("tf_efficientnet_b0");
  const WeightStore weights = formula_weights(tensorflow.network, 3);
  write_safetensors(folder / "tf_efficientnet_b0_aa-827b6e33.safetensors", {weights.all().begin(), weights.all().end()},
                    {});
  EXPECT_EQ(read_checkpoint(folder / "tf_efficientnet_b0_aa-827b6e33.safetensors").card.network, tensorflow.network);
  write_safetensors(folder / "mine.safetensors", {weights.all().begin(), weights.all().end()}, {});
  const Checkpoint guessed = read_checkpoint(folder / "mine.safetensors");
  EXPECT_EQ(guessed.card.architecture, "efficientnet_b0");
  EXPECT_THAT(guessed.notes, Contains(testing::AllOf(HasSubstr("tf_efficientnet_b0"), HasSubstr("--architecture"))));
  folder.write("config.json", R"({"architecture": "tf_efficientnet_b0"})");
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.network, tensorflow.network);

  // The same network with other colours.
  const WeightStore deit = formula_weights(other_family_card("deit_tiny_patch16_224").network, 3);
  const TemporaryFolder unnamed;
  write_safetensors(unnamed / "mine.safetensors", {deit.all().begin(), deit.all().end()}, {});
  const Checkpoint taken = read_checkpoint(unnamed / "mine.safetensors");
  EXPECT_EQ(taken.card.architecture, "vit_tiny_patch16_224");
  EXPECT_THAT(taken.notes, Contains(testing::AllOf(HasSubstr("deit_tiny_patch16_224"), HasSubstr("--architecture"))));
}

// What the file itself tells of the pictures that it was trained on, and of whose weights it is.
TEST(OtherFamilyFiles, PreprocessingFollowsTheGridAndTheLibrary) {
  const TemporaryFolder folder;
  Card card = other_family_card("deit_tiny_patch16_224");
  auto& vit = std::get<VisionTransformerConfig>(card.network);
  vit.grid_height = vit.grid_width = 20;
  const WeightStore weights = formula_weights(card.network, 3);
  write_safetensors(folder / "deit_tiny_patch16_224.safetensors", {weights.all().begin(), weights.all().end()}, {});
  const Checkpoint larger = read_checkpoint(folder / "deit_tiny_patch16_224.safetensors");
  EXPECT_EQ(larger.card.architecture, "deit_tiny_patch16_224");
  EXPECT_EQ(larger.origins.at("architecture"), "the file's name");
  EXPECT_EQ(larger.card.preprocessing.resolution, 320);
  EXPECT_EQ(larger.origins.at("resolution"), "the grid of the position embeddings");

  Card regnet = other_family_card("regnety_032");
  set_class_count(regnet.network, 1000);  // of weights that were trained further only the network's own are known
  const WeightStore theirs = formula_weights(regnet.network, 3);
  std::map<std::string, ConstTensorView> views;
  for (const auto& [own, view] : theirs.all()) {
    views.emplace(name_in(WeightLayout::kRegNetTorchvision, own).value().name, view);
  }
  write_safetensors(folder / "mine.safetensors", views, {});
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.preprocessing.crop_fraction, 0.965);
  write_safetensors(folder / "mine.safetensors", {theirs.all().begin(), theirs.all().end()}, {});
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.preprocessing.crop_fraction, 0.875);
}

TEST(OtherFamilyFiles, TheNamesOfOtherLibrariesAreRead) {
  const TemporaryFolder folder;
  using enum WeightLayout;
  const std::pair<const char*, WeightLayout> files[] = {{"regnety_040", kRegNetTorchvision},
                                                        {"efficientnet_b0", kEfficientNetTorchvision},
                                                        {"efficientnet_v2_s", kEfficientNetV2Torchvision},
                                                        {"deit_tiny_patch16_224", kVisionTransformerTorchvision},
                                                        {"swin_tiny_patch4_window7_224", kSwinMicrosoft},
                                                        {"swin_tiny_patch4_window7_224", kSwinTorchvision}};
  for (const auto& [name, layout] : files) {
    SCOPED_TRACE(std::string(name) + " " + std::string(name_of(layout)));
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    std::map<std::string, ConstTensorView> theirs;
    for (const auto& [own, view] : weights.all()) theirs.emplace(name_in(layout, own).value().name, view);
    const Tensor counter = Tensor::zeros({1}, DType::kI64);
    theirs.emplace("features.1.0.attn.relative_position_index", counter.view());
    write_safetensors(folder / "theirs.safetensors", theirs, {});
    const Checkpoint back = read_checkpoint(folder / "theirs.safetensors");
    EXPECT_EQ(back.layout, layout);
    EXPECT_TRUE(have_same_tensors(back.card.network, card.network));
    EXPECT_TRUE(same_weights(back.weights, weights));
  }
}

TEST(OtherFamilyFiles, OthersThanTheNameOrTheConfigSayAreRefused) {
  const TemporaryFolder folder;
  const Card card = other_family_card("resnet50");
  const WeightStore weights = formula_weights(card.network, 3);
  const fs::path path = folder / "mine.safetensors";
  write_safetensors(path, {weights.all().begin(), weights.all().end()}, {});
  expect_error(ErrorCode::kMismatch, {"mine.safetensors", "resnet", "leave the name convnext_tiny out"},
               [&] { read_checkpoint(path, "convnext_tiny"); });
  expect_error(ErrorCode::kMismatch, {"layer3.6.", "resnet101", "'depths' is 3,4,6,3", "try --architecture resnet50"},
               [&] { read_checkpoint(path, "resnet101"); });
  folder.write("config.json", R"({"architecture": "resnet101"})");
  expect_error(ErrorCode::kMismatch, {"config.json", "resnet101", "other weights"}, [&] { read_checkpoint(path); });
  folder.write("config.json", R"({"architecture": "convnext_tiny"})");
  expect_error(ErrorCode::kMismatch, {"config.json", "convnext_tiny"}, [&] { read_checkpoint(path); });
  // A tensor of another shape: the error says which network it is nearest to.
  const TemporaryFolder other;
  WeightStore changed = weights;
  changed.add("layer2.1.conv2.weight", Tensor::zeros({128, 128, 5, 5}));
  write_safetensors(other / "mine.safetensors", {changed.all().begin(), changed.all().end()}, {});
  expect_error(ErrorCode::kMismatch, {"'layer2.1.conv2.weight' is (128, 128, 5, 5)", "nearest network is resnet50"},
               [&] { read_checkpoint(other / "mine.safetensors"); });
  const Inspection inspection = inspect(other / "mine.safetensors");
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_THAT(inspection.misfits, SizeIs(1));
}

TEST(OtherFamilyFiles, WrittenForALibraryTheyComeBackOrAreRefused) {
  const TemporaryFolder folder;
  for (const std::string& name : other_family_names()) {
    SCOPED_TRACE(name);
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    export_checkpoint(folder / name / "", card, weights, WrittenLayout::kTimm);
    const auto config = nlohmann::json::parse(read_text(folder / name / "config.json"));
    EXPECT_EQ(config["architecture"], name);
    EXPECT_EQ(config["num_classes"], 7);
    EXPECT_EQ(read_checkpoint(folder / name / "").card.network, card.network);
    for (const WrittenLayout layout : {WrittenLayout::kFb, WrittenLayout::kHf}) {
      expect_error(ErrorCode::kUnsupported, {name, std::string(name_of(layout))},
                   [&] { export_checkpoint(folder / "x.safetensors", card, weights, layout); });
    }
    // A PyTorch file has no card: only what its tensors tell may go there.
    const fs::path pytorch = folder / (name + ".pth");
    const NetworkConfig alone =
        inferred_as(name, own_layout(card.network), [](NetworkConfig& network) { set_class_count(network, 7); });
    if (alone == card.network) {
      export_checkpoint(pytorch, card, weights, WrittenLayout::kOwn);
      EXPECT_EQ(read_checkpoint(pytorch, name).card.network, card.network);
    } else {
      expect_error(ErrorCode::kUnsupported, {".pth", "same_padding", "safetensors"},
                   [&] { export_checkpoint(pytorch, card, weights, WrittenLayout::kOwn); });
    }
  }
  const Card regnet = other_family_card("regnety_040");
  const WeightStore weights = formula_weights(regnet.network, 3);
  export_checkpoint(folder / "tv.safetensors", regnet, weights, WrittenLayout::kTorchvision);
  EXPECT_EQ(read_checkpoint(folder / "tv.safetensors").layout, WeightLayout::kRegNetTorchvision);
  const Card swin = other_family_card("swin_tiny_patch4_window7_224");
  expect_error(ErrorCode::kUnsupported, {"swin_tiny_patch4_window7_224", "torchvision"}, [&] {
    export_checkpoint(folder / "x.safetensors", swin, formula_weights(swin.network, 3), WrittenLayout::kTorchvision);
  });
  Card deeper = other_family_card("resnet50");
  std::get<ResNetConfig>(deeper.network).depths = {1, 1, 1, 1};
  expect_error(ErrorCode::kUnsupported, {"resnet50", "timm"}, [&] {
    export_checkpoint(folder / "x/", deeper, formula_weights(deeper.network, 3), WrittenLayout::kTimm);
  });
  EXPECT_FALSE(fs::exists(folder / "x"));
}

// Silently another activation or epsilon would be worse than no file.
TEST(ExportWeights, WhatTheLibraryWouldComputeOtherwiseIsAnError) {
  Card card = small_card("convnext_tiny");
  auto& network = std::get<ConvNextConfig>(card.network);
  network.activation = Activation::kSilu;
  const WeightStore weights = formula_weights(card.network, 1);
  for (const WrittenLayout layout : {kFb, kTorchvision}) {
    expect_error(ErrorCode::kUnsupported, {"silu"}, [&] { export_weights(weights, card, layout); });
  }
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
  network.activation = Activation::kGelu;
  network.head_norm_eps = 1e-12;
  for (const WrittenLayout layout : {kFb, kTorchvision, kTimm}) {
    expect_error(ErrorCode::kUnsupported, {"1e-12"}, [&] { export_weights(weights, card, layout); });
  }
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
}

TEST(ExportCheckpoint, NothingIsWrittenOfWhatALayoutCannotSay) {
  const TemporaryFolder folder;
  const Card card = small_card("convnextv2_tiny");
  EXPECT_THROW(export_checkpoint(folder / "out/", card, formula_weights(card.network, 1), kTorchvision), Error);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(ExportCheckpoint, AFolderHoldsWhatItsLibraryWants) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  const auto files = [&](const char* name, WrittenLayout layout) {
    export_checkpoint(folder / name, card, weights, layout);
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / name)) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  };
  EXPECT_THAT(files("own/", kOwn), ElementsAre("model.safetensors"));
  EXPECT_THAT(files("fb/", kFb), ElementsAre("model.safetensors"));
  EXPECT_THAT(files("timm/", kTimm), ElementsAre("config.json", "model.safetensors"));
  EXPECT_THAT(files("hf/", kHf), ElementsAre("config.json", "model.safetensors", "preprocessor_config.json"));
  fs::create_directory(folder / "existing");
  EXPECT_THAT(files("existing", kOwn), ElementsAre("model.safetensors"));
  // transformers refuses a file that does not say so.
  EXPECT_EQ(SafetensorsFile::open(folder / "hf/model.safetensors").metadata().at("format"), "pt");
  EXPECT_TRUE(SafetensorsFile::open(folder / "hf/model.safetensors").tensors().contains("convnext.layernorm.weight"));
}

// Which file of a folder.

TEST(WeightsFile, IsTheHubsOrTheOnlyOne) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {folder.path().string(), "model.safetensors"},
               [&] { weights_file(folder.path()); });
  folder.write("config.json", "{}");
  folder.write("tiny.pth", "");
  EXPECT_EQ(weights_file(folder.path()), folder / "tiny.pth");
  folder.write("base.pth.tar", "");
  expect_error(ErrorCode::kNotFound, {"2 files", "base.pth.tar", "tiny.pth"}, [&] { weights_file(folder.path()); });
  for (const char* name : {"open_clip_pytorch_model.bin", "pytorch_model.bin", "open_clip_model.safetensors",
                           "model.safetensors.index.json", "model.safetensors"}) {
    folder.write(name, "");
    EXPECT_EQ(weights_file(folder.path()), folder / name);
  }
  EXPECT_EQ(weights_file(folder / "tiny.pth"), folder / "tiny.pth");
}

// Float types.

TEST(ReadCheckpoint, WeightsOfEveryFloatTypeLoad) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  WeightStore doubles;
  for (const auto& [name, view] : weights.all()) {
    Tensor tensor = Tensor::zeros(view.shape, DType::kF64);
    std::ranges::copy(weights.floats(name), tensor.values<double>().begin());
    doubles.add(name, std::move(tensor));
  }
  export_checkpoint(folder / "f64.pth", card, doubles, kFb);
  const Checkpoint read = read_checkpoint(folder / "f64.pth");
  EXPECT_TRUE(same_weights(converted(read.weights, DType::kF32), weights));
}

// SparK pre-trains by masked pictures, without a final norm: the names are those of its pretrain/models/convnext.py and
// spark.py.
TEST(ReadCheckpoint, AnEncoderOfSparkGetsAFinalNormThatChangesNothing) {
  const TemporaryFolder folder;
  Card card = small_card("convnext_small");
  set_class_count(card.network, 0);
  const WeightStore weights = formula_weights(card.network, 1);
  const Tensor other = Tensor::zeros({1, 3, 1, 1});
  const fs::path path = folder / "spark.pth";
  const auto write = [&path](const std::map<std::string, ConstTensorView>& tensors) {
    write_pytorch(path, std::vector<std::pair<std::string, ConstTensorView>>(tensors.begin(), tensors.end()));
  };
  for (const std::string prefix : {"", "sparse_encoder.sp_cnn."}) {
    SCOPED_TRACE(prefix);
    std::map<std::string, ConstTensorView> theirs;
    for (const auto& [own, view] : weights.all()) {
      if (!own.starts_with("head.")) theirs.emplace(prefix + name_in(WeightLayout::kFb, own).value().name, view);
    }
    if (!prefix.empty()) {
      for (const char* name : {"dense_decoder.proj.weight", "densify_norms.0.weight", "densify_projs.1.bias",
                               "mask_tokens.0", "imn_m", "imn_s", "norm_black"}) {
        theirs.emplace(name, other.view());
      }
    }
    write(theirs);
    const Checkpoint read = read_checkpoint(path);
    EXPECT_EQ(read.layout, WeightLayout::kFb);
    EXPECT_EQ(read.card.network, card.network);
    EXPECT_THAT(read.notes, Contains(HasSubstr("final norm")));
    for (const auto& [own, view] : weights.all()) {
      const std::vector<float> expected = own == "head.norm.weight" ? std::vector<float>(20, 1.0f)
                                          : own == "head.norm.bias" ? std::vector<float>(20, 0.0f)
                                                                    : weights.floats(own);
      EXPECT_THAT(read.weights.floats(own), testing::ElementsAreArray(expected)) << own;
    }
    // With a classifier, a norm that is not there is missing.
    const Tensor classifier = Tensor::zeros({5, 20}), bias = Tensor::zeros({5});
    theirs.emplace(prefix + "fc.weight", classifier.view());
    theirs.emplace(prefix + "fc.bias", bias.view());
    write(theirs);
    expect_error(ErrorCode::kMismatch, {"'norm.weight'"}, [&] { read_checkpoint(path); });
    theirs.emplace(prefix + "norm.weight", weights.at("head.norm.weight"));
    theirs.emplace(prefix + "norm.bias", weights.at("head.norm.bias"));
    write(theirs);
    EXPECT_EQ(class_count(read_checkpoint(path).card.network), 5);
  }
}

TEST(ReadCheckpoint, AFileOfNoKnownNetworkIsRefusedWithItsNames) {
  const TemporaryFolder folder;
  const Tensor tensor = Tensor::zeros({4, 3});
  write_safetensors(folder / "vgg.safetensors",
                    {{"features.28.weight", tensor.view()}, {"classifier.6.weight", tensor.view()}}, {});
  expect_error(ErrorCode::kUnsupported, {"vgg.safetensors", "no network that is known", "features.28.weight"},
               [&] { read_checkpoint(folder / "vgg.safetensors"); });
}

// A file of `views`, in which the tensor of that name is of a type that is not read.
void write_with_unread(const fs::path& path, TensorViews views, const std::string& name) {
  const TemporaryFolder folder;
  const Tensor bytes = Tensor::zeros({4}, DType::kU8);
  views[name] = bytes.view();
  write_safetensors(folder / "x.safetensors", {views.begin(), views.end()}, {});
  std::string file = read_text(folder / "x.safetensors");
  const std::size_t entry = file.find(fmt::format(R"("{}":{{"dtype":"U8","shape":[4])", name));
  ASSERT_NE(entry, file.npos);
  // Of equal length: four bytes, as eight halves of one.
  file.replace(file.find(R"("U8","shape":[4])", entry), 16, R"("F4","shape":[8])");
  write_file_atomically(path, file);
}

TEST(ReadCheckpoint, ATensorOfATypeThatIsNotReadIsAnErrorWhereItIsNeeded) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  const TensorViews views(weights.all().begin(), weights.all().end());
  const fs::path file = folder / "x.safetensors";
  write_with_unread(file, views, "some.statistics");
  const Checkpoint read = read_checkpoint(file);
  EXPECT_TRUE(same_weights(read.weights, weights));
  EXPECT_THAT(read.notes, Contains("passed over tensors that are of type F4: 'some.statistics'"));
  EXPECT_TRUE(inspect(file).is_whole());
  EXPECT_THAT(inspect(file).notes, Contains(HasSubstr("'some.statistics'")));

  const auto refused = [&](const std::string& source, const std::string& name, const std::string& architecture) {
    expect_error(ErrorCode::kUnsupported, {source, "'" + name + "' is of type F4", "F16, BF16 or F32"},
                 [&] { read_checkpoint(file, architecture); });
    EXPECT_THAT(inspect(file, architecture).problems, ElementsAre(HasSubstr("'" + name + "' is of type F4")));
  };
  write_with_unread(file, views, "stages.2.blocks.0.mlp.fc1.weight");
  refused("x.safetensors", "stages.2.blocks.0.mlp.fc1.weight", "");
  refused("x.safetensors", "stages.2.blocks.0.mlp.fc1.weight", "convnext_tiny");
  // Nothing but such tensors: the layout is not known, and yet the reason is told.
  write_with_unread(file, {}, "backbone.stages.2.0.pointwise_conv1.weight");
  refused("x.safetensors", "backbone.stages.2.0.pointwise_conv1.weight", "");
}

TEST(ReadCheckpoint, AFolderOfPytorchShardsIsAModel) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  std::vector<std::pair<std::string, ConstTensorView>> halves[2];
  std::string map;
  for (const auto& [name, view] : weights.all()) {
    const std::size_t half = name.starts_with("stages.2") ? 1 : 0;
    halves[half].emplace_back(name, view);
    map += fmt::format(R"({}"{}": "pytorch_model-0000{}-of-00002.bin")", map.empty() ? "" : ", ", name, half + 1);
  }
  write_pytorch(folder / "pytorch_model-00001-of-00002.bin", halves[0]);
  write_pytorch(folder / "pytorch_model-00002-of-00002.bin", halves[1]);
  folder.write("pytorch_model.bin.index.json", fmt::format(R"({{"weight_map": {{{}}}}})", map));
  const Checkpoint read = read_checkpoint(folder.path());
  EXPECT_EQ(read.path, folder / "pytorch_model.bin.index.json");
  EXPECT_TRUE(same_weights(read.weights, weights));
}

}  // namespace
}  // namespace convnext
