// The table of published weights against timm's own, ImageNet's labels, and docs/models.md against the table.
#include "model/published.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "child_process.h"
#include "expect_error.h"
#include "golden.h"
#include "io/file.h"
#include "model/class_matching.h"
#include "model/imagenet_labels.h"
#include "model/registry.h"
#include "temporary_folder.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

json golden_json(std::string_view path) { return json::parse(read_text(golden_path(path))); }

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// What a picture becomes for timm's weights is timm's word, for each of them.
TEST(Published, EveryRowOfTimmPreparesPicturesAsTimmDoes) {
  json timm = golden_json("cards/timm.json");
  timm.update(golden_json("cards/timm_compared.json"));
  std::size_t rows = 0;
  for (const PublishedWeights& weights : published_weights()) {
    if (!weights.in_timm) continue;
    SCOPED_TRACE(weights.name);
    ASSERT_TRUE(timm.contains(weights.name));
    const json& row = timm[weights.name];
    const Preprocessing& p = weights.preprocessing;
    EXPECT_EQ(weights.classes, row["num_classes"]);
    EXPECT_THAT(row["input_size"], ElementsAre(3, p.resolution, p.resolution));
    EXPECT_EQ(p.crop_fraction, row["crop_pct"].get<double>());
    EXPECT_EQ(name_of(p.crop_mode), row["crop_mode"]);
    EXPECT_EQ(name_of(p.interpolation), row["interpolation"]);
    EXPECT_EQ(p.mean, (row["mean"].get<std::array<float, 3>>()));
    EXPECT_EQ(p.std, (row["std"].get<std::array<float, 3>>()));
    EXPECT_EQ(lower(weights.license), row["license"]);
    if (weights.top1.at_larger > 0) {
      EXPECT_EQ(weights.top1.larger_resolution, row["test_input_size"][1]);
    }
    // What is not in PyTorch's own format has no file here.
    if (row.contains("url") && row["url"].get<std::string>().find(".npz") == std::string::npos) {
      EXPECT_EQ(file_url(weights), row["url"]);
    }
    ++rows;
  }
  EXPECT_EQ(rows, timm.size()) << "timm has weights that the table lacks";
}

TEST(Published, RowsAreOfRegisteredNetworksAndTellThemselvesApart) {
  std::set<std::string> names, files, repositories;
  for (const PublishedWeights& weights : published_weights()) {
    SCOPED_TRACE(weights.name);
    const RegistryEntry* entry = find_architecture(weights.architecture);
    ASSERT_NE(entry, nullptr);
    EXPECT_TRUE(weights.classes == 0 || entry->family != Family::kDinov3ConvNext);
    EXPECT_TRUE(names.insert(weights.name).second);
    EXPECT_TRUE(weights.file.empty() || files.insert(weights.file).second);
    EXPECT_TRUE(weights.repository.empty() || repositories.insert(weights.repository).second);
    EXPECT_FALSE(training_data(weights).empty());
    EXPECT_FALSE(weights.license.empty());
    EXPECT_TRUE(weights.classes == 1000 || (weights.top1.published == 0 && weights.top1.timm == 0));
    EXPECT_TRUE(weights.top1.at_larger == 0 || weights.top1.timm > 0);
  }
}

// Figures of the paper and of timm's tables, read there and not in the table.
TEST(Published, HasTheAccuraciesOfThePapers) {
  const auto top1 = [](std::string_view architecture, std::string_view tag) {
    const PublishedWeights* weights = find_published(architecture, tag);
    return weights ? weights->top1 : PublishedTop1{};
  };
  EXPECT_EQ(top1("convnext_tiny", "fb_in1k").published, 82.1);
  EXPECT_EQ(top1("convnext_tiny", "fb_in1k").timm, 82.066);
  EXPECT_EQ(top1("convnext_xlarge", "fb_in22k_ft_in1k_384").published, 87.8);
  EXPECT_EQ(top1("convnext_tiny", "fb_in22k_ft_in1k").at_larger, 78.950);
  EXPECT_EQ(top1("convnextv2_huge", "fcmae_ft_in22k_in1k_512").published, 88.9);
  EXPECT_EQ(top1("convnext_isotropic_small", "fb_in1k").published, 78.7);
  EXPECT_EQ(top1("convnext_large", "tv_in1k").published, 84.414);
  EXPECT_EQ(top1("resnet50", "tv_in1k").timm, 76.156);
  EXPECT_EQ(top1("regnety_160", "deit_in1k").timm, 83.000);
  EXPECT_EQ(top1("tf_efficientnet_b7", "ra_in1k").timm, 84.926);
  EXPECT_EQ(top1("tf_efficientnetv2_l", "in1k").at_larger, 85.660);
  EXPECT_EQ(top1("deit_base_patch16_224", "fb_in1k").timm, 81.980);
  EXPECT_EQ(top1("swin_base_patch4_window12_384", "ms_in22k_ft_in1k").timm, 86.442);
  EXPECT_EQ(top1("vit_base_patch16_224", "tv_in1k").published, 81.072);
}

// torchvision resizes the shorter side to 236, 230 and 232 pixels before its crop of 224.
TEST(Published, TorchvisionsFractionsGiveItsSidesBeforeTheCrop) {
  const auto resized = [](std::string_view architecture) {
    const Preprocessing& p = find_published(architecture, "tv_in1k")->preprocessing;
    EXPECT_EQ(p.interpolation, Interpolation::kBilinear);
    return std::floor(p.resolution / p.crop_fraction);
  };
  EXPECT_EQ(resized("convnext_tiny"), 236);
  EXPECT_EQ(resized("convnext_small"), 230);
  EXPECT_EQ(resized("convnext_base"), 232);
  EXPECT_EQ(resized("convnext_large"), 232);
}

TEST(Published, AreFoundByTheNamesThatFilesHave) {
  const auto name = [](std::string_view file) {
    const PublishedWeights* weights = published_named(file);
    return weights ? std::string(weights->name) : std::string();
  };
  EXPECT_EQ(name("convnext_tiny.fb_in1k"), "convnext_tiny.fb_in1k");
  EXPECT_EQ(name("convnext_tiny.fb_in1k.safetensors"), "convnext_tiny.fb_in1k");
  EXPECT_EQ(name("convnext_tiny_1k_224_ema.pth"), "convnext_tiny.fb_in1k");
  EXPECT_EQ(name("convnext_tiny_1k_224.pth"), "convnext_tiny.fb_in1k_raw");
  EXPECT_EQ(name("convnext_base_22k_1k_384.pth"), "convnext_base.fb_in22k_ft_in1k_384");
  EXPECT_EQ(name("convnextv2_base_22k_384_ema.pt"), "convnextv2_base.fcmae_ft_in22k_in1k_384");
  EXPECT_EQ(name("convnext_tiny-983f1562.pth"), "convnext_tiny.tv_in1k");
  EXPECT_EQ(name("convnext-tiny-224"), "convnext_tiny.fb_in1k");
  EXPECT_EQ(name("ConvNeXt-Base-384-22k-1k"), "convnext_base.fb_in22k_ft_in1k_384");
  EXPECT_EQ(name("dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth"), "convnext_tiny.dinov3_lvd1689m");
  EXPECT_EQ(name("convnext_tiny_hnf_a2h-ab7e9df2.pth"), "convnext_tiny_hnf.a2h_in1k");
  EXPECT_EQ(name("swin_tiny_patch4_window7_224.pth"), "swin_tiny_patch4_window7_224.ms_in1k");
  EXPECT_EQ(name("regnet_y_8gf-dc2b1b54.pth"), "regnety_080_tv.tv2_in1k");
  EXPECT_EQ(name("efficientnet_b5_lukemelas-1a07897c.pth"), "efficientnet_b5_tv.tv_in1k");
  // timm's names of before 2023.
  EXPECT_EQ(name("convnext_tiny_in22ft1k"), "convnext_tiny.fb_in22k_ft_in1k");
  EXPECT_EQ(name("convnext_xlarge_384_in22ft1k"), "convnext_xlarge.fb_in22k_ft_in1k_384");
  EXPECT_EQ(name("convnext_large_in22k"), "convnext_large.fb_in22k");
  EXPECT_EQ(name("convnext_atto_in22k"), "");
  EXPECT_EQ(name("convnext_tiny"), "");
  EXPECT_EQ(name("model.safetensors"), "");
  EXPECT_EQ(name(""), "");
}

TEST(Published, SayWhatTheyWereTrainedOn) {
  const auto data = [](std::string_view architecture, std::string_view tag) {
    return training_data(*find_published(architecture, tag));
  };
  EXPECT_EQ(data("convnext_tiny", "fb_in1k"), "ImageNet-1K");
  EXPECT_EQ(data("convnext_atto", "d2_in1k"), "ImageNet-1K");
  EXPECT_EQ(data("convnext_tiny", "fb_in22k"), "ImageNet-22K");
  EXPECT_EQ(data("convnext_tiny", "in12k_ft_in1k_384"), "ImageNet-12K, ImageNet-1K");
  EXPECT_EQ(data("convnextv2_tiny", "fcmae_ft_in22k_in1k"),
            "ImageNet-1K (FCMAE, no labels), ImageNet-22K, ImageNet-1K");
  EXPECT_EQ(data("convnext_base", "clip_laiona_320"), "LAION-Aesthetic (CLIP)");
  EXPECT_EQ(data("tf_efficientnet_b0", "ns_jft_in1k"), "JFT-300M (no labels), ImageNet-1K");
  EXPECT_EQ(data("vit_tiny_patch16_224", "augreg_in21k_ft_in1k"), "ImageNet-21K, ImageNet-1K");
  EXPECT_EQ(data("dinov3_convnext_base", "eupe_lvd1689m"), "LVD-1689M (EUPE)");
}

// Labels.

TEST(ImagenetLabels, ListsHaveTimmsOrderAndWordNetsNames) {
  const json lists = golden_json("cards/labels.json");
  for (const auto& [count, picked] : lists.items()) {
    const ImagenetList* list = imagenet_list(std::stoi(count));
    ASSERT_NE(list, nullptr) << count;
    EXPECT_EQ(list->labels.size(), list->synsets.size());
    for (const json& one : picked) {
      const std::size_t i = one[0];
      EXPECT_EQ(list->synsets[i], one[1]);
      EXPECT_THAT(one[2].get<std::string>(), StartsWith(list->labels[i])) << list->synsets[i];
    }
  }
}

TEST(ImagenetLabels, AreTheOnesThatEverybodyKnows) {
  const ImagenetList& list = *imagenet_list(1000);
  EXPECT_EQ(list.labels[0], "tench");
  EXPECT_EQ(list.labels[281], "tabby");
  EXPECT_EQ(list.labels[999], "toilet tissue");
  EXPECT_EQ(imagenet_name("n02123045"), "tabby");
  EXPECT_EQ(imagenet_name("n99999999"), "");
  EXPECT_EQ(std::set(list.labels.begin(), list.labels.end()).size(), 1000u) << "two classes have one name";
  EXPECT_EQ(imagenet_list(21841)->labels.size(), 21841u);
  EXPECT_EQ(imagenet_list(11821)->labels.size(), 11821u);
  EXPECT_EQ(imagenet_list(10), nullptr);
  EXPECT_EQ(imagenet_list(0), nullptr);
}

TEST(ImagenetLabels, AreRecognisedWhoeverWroteThem) {
  const ImagenetList& list = *imagenet_list(1000);
  EXPECT_EQ(recognized_imagenet_list(list.labels), &list);
  EXPECT_EQ(recognized_imagenet_list(list.synsets), &list);
  std::vector<std::string> longer = list.labels;
  for (std::string& label : longer) label += ", another lemma";
  EXPECT_EQ(recognized_imagenet_list(longer), &list);
  std::vector<std::string> reversed(list.labels.rbegin(), list.labels.rend());
  EXPECT_EQ(recognized_imagenet_list(reversed), nullptr);
  EXPECT_EQ(recognized_imagenet_list({"cat", "dog"}), nullptr);
}

// Folders of ImageNet are called by synsets, and the labels of a model by names.
TEST(ImagenetLabels, MatchFoldersThatAreCalledBySynset) {
  const ModelClasses classes = {.count = 1000, .labels = imagenet_list(1000)->labels};
  EXPECT_THAT(match_classes({"n02123045", "n01440764", "toilet_tissue", "n03126707_crane"}, classes),
              ElementsAre(281, 0, 999, 517));
  std::vector<std::string> reversed(classes.labels.rbegin(), classes.labels.rend());
  expect_error(ErrorCode::kMismatch, {"n02123045"},
               [&] { match_classes({"n02123045"}, {.count = 1000, .labels = reversed}); });
}

TEST(LabelFile, HasALabelALineAndNoHoles) {
  const TemporaryFolder folder;
  folder.write("good.txt", "cat\r\nn02123045 tabby\n owl \n");
  EXPECT_THAT(read_labels(folder / "good.txt"), ElementsAre("cat", "n02123045 tabby", " owl"));
  folder.write("hole.txt", "cat\n\nowl\n");
  expect_error(ErrorCode::kDamaged, {"hole.txt", "line 2"}, [&] { read_labels(folder / "hole.txt"); });
  folder.write("empty.txt", "");
  expect_error(ErrorCode::kDamaged, {"empty.txt"}, [&] { read_labels(folder / "empty.txt"); });
}

// The document is the program's own output, so that it cannot go stale.
TEST(ModelsDocument, HoldsTheTableAsItIs) {
  const ChildResult result = run_child({CONVNEXT_PROGRAM, "list", "--published", "--markdown"},
                                       {.folder = CONVNEXT_SOURCE_DIR, .environment = {}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string document = read_text(std::filesystem::path(CONVNEXT_SOURCE_DIR) / "docs" / "models.md");
  EXPECT_NE(document.find(result.out), std::string::npos)
      << "put the output of 'convnext list --published --markdown' into docs/models.md";
  EXPECT_THAT(document, HasSubstr("convnext_tiny_1k_224_ema.pth"));
}

}  // namespace
}  // namespace convnext
