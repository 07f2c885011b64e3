// What every registered network costs, against published figures.
#include "model/registry.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>
#include <map>
#include <set>

#include "expect_error.h"
#include "model/description.h"
#include "model/tensors.h"

namespace convnext {
namespace {

// Parameters are exact. GMAC are of convolutions and linears at 224, 288 and 384 pixels, to the printed digit (timm's
// results tables less 5 an element of every norm; the paper's tables 9 and 12); empty where none is published.
struct Published {
  const char* name;
  std::int64_t params;
  const char* gmac_224;
  const char* gmac_288;
  const char* gmac_384;
};

constexpr Published kPublished[] = {
    {"convnext_zepto_rms", 2'155'656, "0.302", "0.499", "0.887"},
    {"convnext_zepto_rms_ols", 2'164'232, "0.337", "0.557", "0.990"},
    {"convnext_atto", 3'695'520, "0.547", "0.905", "1.608"},
    {"convnext_atto_ols", 3'702'912, "0.577", "0.953", "1.694"},
    {"convnext_atto_rms", 3'693'040, "0.547", "0.905", "1.608"},
    {"convnext_femto", 5'217'784, "0.780", "1.289", "2.290"},
    {"convnext_femto_ols", 5'226'520, "0.813", "1.344", "2.389"},
    {"convnext_pico", 9'045'672, "1.367", "2.259", "4.016"},
    {"convnext_pico_ols", 9'061'928, "1.426", "2.357", "4.190"},
    {"convnext_nano", 15'593'560, "2.446", "4.042", "7.186"},
    {"convnext_nano_ols", 15'649'560, "2.641", "4.366", "7.761"},
    {"convnext_tiny", 28'589'128, "4.456", "7.365", "13.092"},
    {"convnext_tiny_hnf", 28'589'128, "4.456", "7.365", "13.092"},
    {"convnext_small", 50'223'688, "8.684", "14.354", "25.518"},
    {"convnext_base", 88'591'464, "15.355", "25.382", "45.122"},
    {"convnext_large", 197'767'336, "34.361", "56.801", "100.978"},
    {"convnext_large_mlp", 200'128'168, "34.364", "56.803", "100.980"},
    {"convnext_xlarge", 350'196'968, "60.921", "100.705", "179.029"},
    {"convnext_xxlarge", 846'471'016, "151.570", "250.55", "445.42"},
    // Parameters of timm 1.0.31.
    {"test_convnext", 272'128, "", "", ""},
    {"test_convnext2", 477'800, "", "", ""},
    {"test_convnext3", 468'840, "", "", ""},
    {"convnextv2_atto", 3'708'400, "0.547", "", ""},
    {"convnextv2_femto", 5'233'240, "0.780", "", ""},
    {"convnextv2_pico", 9'066'280, "1.367", "", ""},
    {"convnextv2_nano", 15'623'800, "2.446", "", ""},
    {"convnextv2_tiny", 28'635'496, "4.456", "", ""},
    {"convnextv2_small", 50'318'440, "8.684", "", ""},
    {"convnextv2_base", 88'717'800, "15.355", "", ""},
    {"convnextv2_large", 197'956'840, "34.361", "", ""},
    {"convnextv2_huge", 660'289'640, "114.92", "", "337.7"},
    {"convnext_isotropic_small", 22'308'712, "4.286", "", ""},
    {"convnext_isotropic_base", 87'083'752, "16.896", "", ""},
    {"convnext_isotropic_large", 305'942'504, "59.699", "", ""},
    {"dinov3_convnext_tiny", 27'820'128, "", "", ""},
    {"dinov3_convnext_small", 49'454'688, "", "", ""},
    {"dinov3_convnext_base", 87'566'464, "", "", ""},
    {"dinov3_convnext_large", 196'230'336, "", "", ""},
};

// The value with as many decimals as the published text has.
std::string as_printed(double value, std::string_view published) {
  const std::size_t point = published.find('.');
  return fmt::format("{:.{}f}", value, published.size() - point - 1);
}

void expect_gmac(const NetworkConfig& config, int resolution, std::string_view published) {
  if (published.empty()) return;
  EXPECT_EQ(as_printed(count_cost(config, resolution, resolution).gmac, published), published) << "at " << resolution;
}

class RegisteredNetwork : public testing::TestWithParam<Published> {};

TEST_P(RegisteredNetwork, HasThePublishedParametersAndOperations) {
  const Published& published = GetParam();
  const NetworkConfig& config = architecture(published.name).network;
  EXPECT_EQ(count_cost(config, 224, 224).params, published.params);
  expect_gmac(config, 224, published.gmac_224);
  expect_gmac(config, 288, published.gmac_288);
  expect_gmac(config, 384, published.gmac_384);
}

// Two counts that know nothing of each other: layer by layer, and tensor by tensor.
TEST_P(RegisteredNetwork, CountsEqualItsTensors) {
  const NetworkConfig& config = architecture(GetParam().name).network;
  std::int64_t elements = 0;
  std::set<std::string> names;
  for (const TensorSpec& spec : tensor_specs(config)) {
    elements += element_count(spec.shape);
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name << " twice";
  }
  const NetworkCost cost = count_cost(config, 224, 224);
  EXPECT_EQ(cost.params, elements);

  std::int64_t params = cost.head_params;
  double gmac = cost.head_gmac;
  const auto& network = std::get<ConvNextConfig>(config);
  ASSERT_EQ(cost.stages.size(), network.depths.size());
  for (std::size_t i = 0; i < cost.stages.size(); ++i) {
    params += cost.stages[i].params;
    gmac += cost.stages[i].gmac;
    EXPECT_EQ(cost.stages[i].depth, network.depths[i]);
    EXPECT_EQ(cost.stages[i].dim, network.dims[i]);
  }
  EXPECT_EQ(params, cost.params);
  EXPECT_NEAR(gmac, cost.gmac, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(All, RegisteredNetwork, testing::ValuesIn(kPublished),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Registry, HasAFigureForEveryConvNextAndNoNameTwice) {
  std::set<std::string> published, registered;
  for (const Published& one : kPublished) published.insert(one.name);
  for (const RegistryEntry& entry : registry()) {
    EXPECT_TRUE(registered.insert(entry.name).second) << entry.name << " twice";
    for (const std::string& alias : entry.aliases) EXPECT_TRUE(registered.insert(alias).second) << alias << " twice";
    if (family_of(entry.network) == Family::kConvNext && entry.family != Family::kRoadmap) {
      EXPECT_TRUE(published.contains(entry.name)) << entry.name;
    }
    EXPECT_EQ(&architecture(entry.name), &entry);
    for (const std::string& alias : entry.aliases) EXPECT_EQ(&architecture(alias), &entry);
  }
  for (const std::string& name : published) EXPECT_TRUE(registered.contains(name)) << name;
}

// fvcore, from which timm's tables come, counts 5 an element of every norm.
TEST(Description, WithNormsEqualsTheTablesOfTimm) {
  const std::map<std::string, std::string> at_224 = {
      {"convnext_tiny", "4.470"},   {"convnext_small", "8.705"},   {"convnext_base", "15.384"},
      {"convnext_large", "34.405"}, {"convnext_xlarge", "60.979"}, {"convnext_atto", "0.552"},
      {"convnext_femto", "0.785"},  {"convnext_pico", "1.375"},    {"convnext_nano", "2.456"}};
  for (const auto& [name, published] : at_224) {
    const double gmac = count_cost(architecture(name).network, 224, 224).gmac_with_norms;
    EXPECT_EQ(as_printed(gmac, published), published) << name;
  }
  const NetworkCost xxlarge = count_cost(architecture("convnext_xxlarge").network, 256, 256);
  EXPECT_EQ(as_printed(xxlarge.gmac, "197.97"), "197.97");
  EXPECT_EQ(as_printed(xxlarge.gmac_with_norms, "198.09"), "198.09");
  EXPECT_EQ(as_printed(count_cost(architecture("convnextv2_huge").network, 512, 512).gmac, "600.4"), "600.4");
}

TEST(Description, ParametersWithTheHeadOfImageNet22K) {
  const std::map<std::string, std::int64_t> params = {{"convnext_tiny", 44'615'857},
                                                      {"convnext_small", 66'250'417},
                                                      {"convnext_base", 109'953'489},
                                                      {"convnext_large", 229'799'953},
                                                      {"convnext_xlarge", 392'900'177}};
  for (const auto& [name, expected] : params) {
    NetworkConfig config = architecture(name).network;
    set_class_count(config, 21841);
    EXPECT_EQ(count_cost(config, 224, 224).params, expected) << name;
  }
}

// Every convolution floors, so sizes that 32 does not divide lose rows.
TEST(Description, MapsOfSizesThatTheStridesDoNotDivide) {
  const NetworkCost cost = count_cost(architecture("convnext_tiny").network, 250, 70);
  const std::vector<std::pair<std::int64_t, std::int64_t>> expected = {{62, 17}, {31, 8}, {15, 4}, {7, 2}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(cost.stages[i].height, expected[i].first);
    EXPECT_EQ(cost.stages[i].width, expected[i].second);
  }
}

// Stage 1 of ConvNeXt-T at 224: the block's input waits while the hidden map (4 x 96 channels) goes through GELU.
TEST(Description, PeakActivationsAreThoseOfTheWidestBlock) {
  const NetworkCost cost = count_cost(architecture("convnext_tiny").network, 224, 224);
  EXPECT_EQ(cost.peak_activation_bytes, std::uint64_t{56 * 56} * (96 + 384 + 384) * 4);
}

TEST(Description, AnInputThatLeavesNoPixelIsRefused) {
  const NetworkConfig& config = architecture("convnext_tiny").network;
  EXPECT_EQ(count_cost(config, 32, 32).stages[3].height, 1);
  expect_error(ErrorCode::kInvalidArgument, {"31x32", "too small"}, [&] { count_cost(config, 31, 32); });
  expect_error(ErrorCode::kInvalidArgument, {"0x0"}, [&] { count_cost(config, 0, 0); });
}

// A count that wrapped around would be negative, or small.
TEST(Description, WhatCannotBeCountedIsRefused) {
  constexpr std::int64_t kFarthest = std::numeric_limits<std::int64_t>::max();
  const NetworkConfig& tiny = architecture("convnext_tiny").network;
  const auto refused = [](const NetworkConfig& config, std::int64_t height, std::int64_t width,
                          const std::string& what) {
    expect_error(ErrorCode::kInvalidArgument, {fmt::format("{}x{}", height, width), "too large", what},
                 [&] { count_cost(config, height, width); });
  };
  refused(tiny, kFarthest, 32, "pixels");
  refused(tiny, 32, std::int64_t{1} << 31, "pixels");
  refused(tiny, (std::int64_t{1} << 31) - 1, (std::int64_t{1} << 31) - 1, "'stem.0'");
  refused(architecture("vit_base_patch16_224").network, 1 << 22, 1 << 22, "attn");
  // Each layer can be counted, and not all of them.
  ConvNextConfig largest;
  largest.depths.assign(4, 256);
  largest.dims.assign(4, 16384);
  largest.patch_size = 1;
  validate(largest);
  EXPECT_GT(layer_costs(largest, 4096, 4096).back().params, 0);
  refused(largest, 4096, 4096, "the network");
  // Large is not too large: outside of the head, costs go with the pixels.
  const NetworkCost small = count_cost(tiny, 32, 32), large = count_cost(tiny, 65536, 65536);
  const double times = 2048.0 * 2048.0;
  EXPECT_NEAR(large.gmac - large.head_gmac, times * (small.gmac - small.head_gmac), 1e-9 * large.gmac);
}

TEST(Registry, DefaultsAreThoseOfTheAuthorsWeights) {
  const RegistryEntry& tiny = architecture("convnext_tiny");
  EXPECT_EQ(tiny.preprocessing.resolution, 224);
  EXPECT_EQ(tiny.preprocessing.crop_fraction, 0.875);  // timm's untagged default, in12k_ft_in1k, has 0.95
  EXPECT_EQ(tiny.preprocessing.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(tiny.preprocessing.crop_mode, CropMode::kCenter);
  EXPECT_EQ(tiny.published_weights, "fb_in1k");
  EXPECT_EQ(std::get<ConvNextConfig>(architecture("convnext_xxlarge").network).norm_eps, 1e-5);
  EXPECT_FALSE(std::get<ConvNextConfig>(architecture("convnext_isotropic_small").network).layer_scale);
  EXPECT_TRUE(std::get<ConvNextConfig>(architecture("convnext_isotropic_large").network).layer_scale);
}

TEST(Registry, AnUnknownNameOffersTheNearest) {
  EXPECT_EQ(find_architecture("convnext_tinny"), nullptr);
  expect_error(ErrorCode::kNotFound, {"convnext_tinny", "convnext_tiny", "convnext list"},
               [] { architecture("convnext_tinny"); });
  expect_error(ErrorCode::kNotFound, {"convnextv2_huge"}, [] { architecture("convnextv2_hug"); });
  const std::string long_name(100'000, 'x');
  try {
    architecture(long_name);
    FAIL();
  } catch (const Error& error) {
    EXPECT_LT(std::string_view(error.what()).size(), 400u);
  }
}

}  // namespace
}  // namespace convnext
