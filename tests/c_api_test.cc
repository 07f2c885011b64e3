// The C interface: c_api_checks.c calls it, from C; here are the files that it loads, and the answers of the C++ one.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "c_api_checks.h"
#include "convnext/convnext.h"
#include "io/picture.h"
#include "io/safetensors.h"
#include "model/int8_weights.h"
#include "temporary_folder.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

// Made once for all tests.
class Files {
 public:
  Files() {
    fs::create_directory(folder_ / "folder");
    const Card labelled = tiny_card();
    Card card = labelled;
    model_ = write_tiny_model(folder_ / "folder/model.safetensors", labelled);
    card.labels.clear();
    unlabelled_ = write_tiny_model(folder_ / "unlabelled.safetensors", card);
    set_class_count(card.network, 0);
    embedder_ = write_tiny_model(folder_ / "embedder.safetensors", card);
    card.network = with_overrides(
        labelled.network,
        {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = {}, .classes = {}, .input_channels = 5});
    five_channels_ = write_tiny_model(folder_ / "five_channels.safetensors", card);
    card = labelled;
    card.precision = kInt8Precision;
    int8_ = folder_ / "int8.safetensors";
    write_checkpoint(int8_, card, rounded_to_int8(formula_weights(card.network, 1)));
    write_with_a_note();
    folder_.write("damaged.safetensors", "not the header of a safetensors file");
    damaged_ = folder_ / "damaged.safetensors";
    folder_path_ = folder_ / "folder";

    picture_ = folder_ / "picture.png";
    write_png(picture_, image_);
    const Model model = Model::load(fs::path(model_));
    input_ = model.preprocess(image_);
    Context context(model, 1);
    outputs_ = model.run(input_.view(), context, {.logits = true, .pooled = true, .stages = true});
  }

  fixture values() const {
    return {.model = model_.c_str(),
            .unlabelled = unlabelled_.c_str(),
            .embedder = embedder_.c_str(),
            .five_channels = five_channels_.c_str(),
            .int8 = int8_.c_str(),
            .folder = folder_path_.c_str(),
            .damaged = damaged_.c_str(),
            .with_a_note = with_a_note_.c_str(),
            .picture = picture_.c_str(),
            .pixels = image_.pixels.data(),
            .width = image_.width,
            .height = image_.height,
            .mean = preprocessing_.mean.data(),
            .std = preprocessing_.std.data(),
            .input = input_.values<float>().data(),
            .logits = outputs_.logits.values<float>().data(),
            .embedding = outputs_.pooled.values<float>().data(),
            .maps = {outputs_.stages[0].values<float>().data(), outputs_.stages[1].values<float>().data()}};
  }

 private:
  void write_with_a_note() {
    const SafetensorsFile file = SafetensorsFile::open(model_);
    auto tensors = file.tensors();
    const Tensor count = Tensor::zeros({1}, DType::kI64);
    tensors.emplace("decoder.weight", count.view());
    with_a_note_ = folder_ / "with_a_note.safetensors";
    write_safetensors(with_a_note_, tensors, file.metadata());
  }

  TemporaryFolder folder_;
  const Preprocessing preprocessing_ = tiny_card().preprocessing;
  const Image image_ = formula_picture(50, 40, 3);
  fs::path model_, unlabelled_, embedder_, five_channels_, int8_, folder_path_, damaged_, with_a_note_, picture_;
  Tensor input_;
  Outputs outputs_;
};

const Files& files() {
  static const Files made;
  return made;
}

TEST(CApi, NamesEachStatus) { EXPECT_EQ(check_status_name(), 0); }
TEST(CApi, TellsItsVersion) { EXPECT_EQ(check_version(), 0); }

using Check = int (*)(const fixture*);
struct NamedCheck {
  const char* name;
  Check check;
};

class CApiFunction : public testing::TestWithParam<NamedCheck> {};

TEST_P(CApiFunction, DoesWhatItsHeaderSays) {
  const fixture values = files().values();
  EXPECT_EQ(GetParam().check(&values), 0) << "the lines above say what failed";
}

INSTANTIATE_TEST_SUITE_P(
    All, CApiFunction,
    testing::Values(NamedCheck{"model_load", check_model_load}, NamedCheck{"load_options", check_load_options},
                    NamedCheck{"shared_threads", check_shared_threads}, NamedCheck{"file_limits", check_file_limits},
                    NamedCheck{"precision", check_precision}, NamedCheck{"callbacks", check_callbacks},
                    NamedCheck{"model_describe", check_model_describe}, NamedCheck{"model_label", check_model_label},
                    NamedCheck{"model_feature_shape", check_model_feature_shape},
                    NamedCheck{"model_preprocessing", check_model_preprocessing},
                    NamedCheck{"model_with_preprocessing", check_model_with_preprocessing},
                    NamedCheck{"model_with_labels", check_model_with_labels},
                    NamedCheck{"image_open", check_image_open}, NamedCheck{"image_decode", check_image_decode},
                    NamedCheck{"image_from_rgb", check_image_from_rgb}, NamedCheck{"context_new", check_context_new},
                    NamedCheck{"classify", check_classify}, NamedCheck{"embed", check_embed},
                    NamedCheck{"features", check_features}, NamedCheck{"preprocess", check_preprocess},
                    NamedCheck{"run", check_run}, NamedCheck{"predictions", check_predictions},
                    NamedCheck{"errors", check_errors}),
    [](const testing::TestParamInfo<NamedCheck>& info) { return info.param.name; });

std::string text_of(const fs::path& file) {
  std::ifstream stream(fs::path(CONVNEXT_SOURCE_DIR) / file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// A function that is added to the header is called in C, or this fails.
TEST(CApi, EveryFunctionOfTheHeaderIsCalledInC) {
  const std::string header = text_of("include/convnext/c_api.h");
  const std::string checks = text_of("tests/c_api_checks.c");
  const std::regex declaration("\n[a-z][a-z0-9_ ]*[ *]+(convnext_[a-z_]+)\\(");
  std::set<std::string> names;
  for (std::sregex_iterator match(header.begin(), header.end(), declaration), end; match != end; ++match) {
    names.insert((*match)[1]);
  }
  EXPECT_GE(names.size(), 25u);
  for (const std::string& name : names) EXPECT_NE(checks.find(name + "("), std::string::npos) << name;
}

}  // namespace
}  // namespace convnext
