// Whole training runs on pictures that the tests draw: what they leave, how they go on, and what stops them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/verify.h"
#include "io/file.h"
#include "model/checkpoint.h"
#include "tests/drawn_pictures.h"
#include "tests/expect_error.h"
#include "tests/run_cut.h"
#include "tests/temporary_folder.h"
#include "tiny_model.h"
#include "train/initialization.h"
#include "train/trainer.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

class Run : public ::testing::Test {
 protected:
  Run() {
    draw_pictures(folder_ / "data/train", 16, 0);
    draw_pictures(folder_ / "data/val", 8, 1000);
    settings_.data = folder_ / "data";
    settings_.model = "test_convnext2";
    settings_.overrides.patch_size = 2;
    settings_.resolution = 16;
    settings_.epochs = 3;
    settings_.warmup_epochs = 1;
    settings_.batch_size = 8;
    settings_.drop_path = 0.1;
    settings_.layer_scale_init = 1.0;
    settings_.ema_decay = 0.5;
    settings_.checkpoint_minutes = 0;
    settings_.threads = 1;
    settings_.seed = 4;
  }

  // The bytes of the model; empty when there is none yet.
  std::string train_into(const std::string& name, const Cut& cut = {}) {
    return train_until<TrainCallbacks>(
        cut, folder_ / name, settings_, messages_, reports_, end_,
        [](const TrainSettings& settings, const TrainCallbacks& callbacks) { return train(settings, "", callbacks); });
  }

  // All weights of a run's model, one after the other.
  torch::Tensor weights(const std::string& name) const {
    const Checkpoint checkpoint = read_checkpoint(folder_ / name);
    std::vector<torch::Tensor> all;
    for (const auto& [tensor, view] : checkpoint.weights.all()) {
      all.push_back(torch::tensor(checkpoint.weights.floats(tensor)));
    }
    return torch::cat(all);
  }

  std::vector<std::string> checkpoints(const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / name / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  std::vector<int> logged_epochs(const std::string& name) const {
    std::ifstream log(folder_ / name / "log.jsonl");
    std::vector<int> epochs;
    for (std::string line; std::getline(log, line);) epochs.push_back(nlohmann::json::parse(line)["epoch"].get<int>());
    return epochs;
  }

  // The whole method at once: what is drawn for a step must not depend on how the run came there.
  void use_everything() {
    settings_.accumulate = 2;
    settings_.mixup = 0.8;
    settings_.cutmix = 1.0;
    settings_.clip_norm = 1.0;
    settings_.layer_decay = 0.8;
    settings_.dropout = 0.2;
    settings_.weight_decay_end = 0.2;
    settings_.ema_warmup = true;
    settings_.augmentation.crop = TrainCrop::kRandomResized;
    settings_.auto_augment = "rand-m9-mstd0.5-inc1";
    settings_.augmentation.erasing.probability = 0.5;
    settings_.augmentation.flip_mode = FlipMode::kAlternating;
  }

  TemporaryFolder folder_;
  TrainSettings settings_;
  std::string messages_;
  std::vector<EpochReport> reports_;
  RunEnd end_ = RunEnd::kFinished;
};

TEST_F(Run, LearnsToTellDrawnShapesApart) {
  settings_.epochs = 30;
  settings_.lr = 2e-3;
  settings_.ema_decay = 0;
  train_into("run");
  EXPECT_LT(reports_.back().train_loss, reports_.front().train_loss);
  EXPECT_GT(reports_.back().model->top1, 90.0);
}

TEST_F(Run, LeavesAModelThatTheRuntimeReadsAndVerifies) {
  train_into("run");
  const Checkpoint checkpoint = read_checkpoint(folder_ / "run");
  EXPECT_THAT(checkpoint.card.labels, ::testing::ElementsAre("cross", "square"));
  EXPECT_EQ(checkpoint.card.preprocessing.resolution, 16);
  EXPECT_TRUE(verify(checkpoint).passed);
  const auto training = nlohmann::json::parse(checkpoint.card.training);
  EXPECT_EQ(training["epochs_done"], 3);
  EXPECT_EQ(training["train_pictures"], 32);
  EXPECT_EQ(training["result"]["top1"], reports_.back().average->top1);
}

// Pictures are kept in 8 bits: what trains on them prepares them so from then on.
TEST_F(Run, FromAModelWhosePicturesAreResizedAsFloatsKeepsBytes) {
  Card card = tiny_card();
  card.preprocessing.pipeline = PixelPipeline::kDinov3;
  card.preprocessing.interpolation = Interpolation::kBilinear;
  settings_.init = write_tiny_model(folder_ / "dinov3.safetensors", card);
  settings_.model.clear();
  settings_.overrides = {};
  EXPECT_EQ(start_of(settings_, {"cross", "square"}).card.preprocessing.pipeline, PixelPipeline::kTorchvision);
  card.preprocessing.pipeline = PixelPipeline::kTransformers;
  settings_.init = write_tiny_model(folder_ / "transformers.safetensors", card);
  EXPECT_EQ(start_of(settings_, {"cross", "square"}).card.preprocessing.pipeline, PixelPipeline::kTransformers);
}

// Its last maps are smaller than the window of its name, and its first is not divided by it.
TEST_F(Run, OfASwinOnSmallPicturesHasWindowsNoLargerThanItsMaps) {
  settings_.model = "swin_tiny_patch4_window7_224";
  settings_.overrides.depths = {2, 1, 1, 1};
  settings_.overrides.dims = {32, 32, 32, 32};
  train_into("run");
  const Checkpoint checkpoint = read_checkpoint(folder_ / "run");
  const auto& swin = std::get<SwinConfig>(checkpoint.card.network);
  EXPECT_THAT(swin.windows, ::testing::ElementsAre(7, 4, 2, 1));
  EXPECT_TRUE(swin.pads_windows);
  EXPECT_THAT(start_of(settings_, checkpoint.card.labels).note,
              ::testing::HasSubstr("windows of 7,4,2,1 do not divide"));

  // On still smaller pictures each table is the middle of what it was.
  settings_.model.clear();
  settings_.overrides = {};
  settings_.init = folder_ / "run";
  settings_.resolution = 8;
  settings_.epochs = 1;
  settings_.warmup_epochs = 0;
  settings_.lr = 1e-12;
  settings_.min_lr = 0;
  settings_.weight_decay = 0;
  settings_.ema_decay = 0;
  train_into("smaller");
  const Checkpoint smaller = read_checkpoint(folder_ / "smaller");
  EXPECT_THAT(std::get<SwinConfig>(smaller.card.network).windows, ::testing::ElementsAre(4, 2, 1, 1));
  const auto table = [](const Checkpoint& from, int stage, int side) {
    const std::string name = fmt::format("layers.{}.blocks.0.attn.relative_position_bias_table", stage);
    return torch::tensor(from.weights.floats(name)).view({side, side});
  };
  const auto differs = [](const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<float>(); };
  EXPECT_LT(differs(table(smaller, 0, 7), table(checkpoint, 0, 13).slice(0, 3, 10).slice(1, 3, 10)), 1e-9);
  EXPECT_LT(differs(table(smaller, 1, 3), table(checkpoint, 1, 7).slice(0, 2, 5).slice(1, 2, 5)), 1e-9);
  EXPECT_LT(differs(table(smaller, 3, 1), table(checkpoint, 3, 1)), 1e-9);
}

TEST_F(Run, IsTheSameWhenItIsRepeated) { EXPECT_EQ(train_into("first"), train_into("second")); }

TEST_F(Run, IsTheSameWhenItCrashedBetweenEpochsAndWasResumed) {
  const std::string whole = train_into("whole");
  train_into("cut", {.after_epoch = 1});
  EXPECT_TRUE(train_into("cut", {.resume = true}) == whole);
  EXPECT_THAT(logged_epochs("cut"), ::testing::ElementsAre(1, 2, 3));
}

TEST_F(Run, IsTheSameWhenItWasStoppedAtAnyStepAndResumed) {
  use_everything();
  const std::string whole = train_into("whole");  // 3 epochs of 2 steps
  for (const int steps : {1, 2, 3, 4, 5}) {
    const std::string name = fmt::format("cut{}", steps);
    train_into(name, {.after_steps = steps});
    EXPECT_EQ(end_, RunEnd::kStopped);
    EXPECT_TRUE(train_into(name, {.resume = true}) == whole) << "stopped after step " << steps;
    EXPECT_EQ(end_, RunEnd::kFinished);
    EXPECT_THAT(logged_epochs(name), ::testing::ElementsAre(1, 2, 3));
  }
  train_into("often", {.after_steps = 1});
  for (int i = 0; i < 4; ++i) train_into("often", {.after_steps = 1, .resume = true});
  EXPECT_TRUE(train_into("often", {.resume = true}) == whole);
}

TEST_F(Run, IsTheSameWithMoreWorkers) {
  use_everything();
  const std::string one = train_into("one");
  settings_.workers = 3;
  settings_.cache_gigabytes = 0;
  EXPECT_TRUE(train_into("three") == one);
}

// Each option does something: a run without it ends elsewhere.
TEST_F(Run, EndsElsewhereWithoutAnyPartOfTheMethod) {
  use_everything();
  settings_.epochs = 1;
  settings_.warmup_epochs = 0;
  const TrainSettings everything = settings_;
  train_into("whole");
  const torch::Tensor whole = weights("whole");
  train_into("again");
  ASSERT_TRUE(torch::equal(weights("again"), whole));
  const std::map<std::string, std::function<void(TrainSettings&)>> changes = {
      {"accumulate", [](TrainSettings& s) { s.accumulate = 1; }},
      {"mixup", [](TrainSettings& s) { s.mixup = s.cutmix = 0; }},
      {"mix-probability", [](TrainSettings& s) { s.mix_probability = 0; }},
      {"mix-switch-probability", [](TrainSettings& s) { s.mix_switch_probability = 0; }},
      {"clip-norm", [](TrainSettings& s) { s.clip_norm = 0; }},
      {"layer-decay", [](TrainSettings& s) { s.layer_decay = 1; }},
      {"layer-decay-grouping", [](TrainSettings& s) { s.layer_decay_grouping = LayerGrouping::kSingle; }},
      {"weight-decay", [](TrainSettings& s) { s.weight_decay = 0; }},
      {"weight-decay-end", [](TrainSettings& s) { s.weight_decay_end.reset(); }},
      {"decay-everything", [](TrainSettings& s) { s.decay_everything = true; }},
      {"optimizer", [](TrainSettings& s) { s.optimizer = OptimizerKind::kSgd; }},
      {"beta1", [](TrainSettings& s) { s.beta1 = 0.8; }},
      {"beta2", [](TrainSettings& s) { s.beta2 = 0.9; }},
      {"epsilon", [](TrainSettings& s) { s.epsilon = 1e-3; }},
      {"ema-decay", [](TrainSettings& s) { s.ema_decay = 0.25; }},
      {"ema-warmup", [](TrainSettings& s) { s.ema_warmup = false; }},
      {"precision", [](TrainSettings& s) { s.precision = TrainPrecision::kBf16; }},
      {"schedule",
       [](TrainSettings& s) {
         s.schedule = ScheduleKind::kStep;
         s.step_epochs = 1;
       }},
      {"min-lr", [](TrainSettings& s) { s.min_lr = 1e-3; }},
      {"label-smoothing", [](TrainSettings& s) { s.label_smoothing = 0; }},
      {"drop-path", [](TrainSettings& s) { s.drop_path = 0.5; }},
      {"dropout", [](TrainSettings& s) { s.dropout = 0; }},
      {"weight-init", [](TrainSettings& s) { s.weight_init = WeightInit::kFanIn; }},
      {"layer-scale-init", [](TrainSettings& s) { s.layer_scale_init = 0.5; }},
      {"head-init-scale", [](TrainSettings& s) { s.head_init_scale = 0.5; }},
      {"freeze-stages", [](TrainSettings& s) { s.freeze_stages = 1; }},
      {"auto-augment", [](TrainSettings& s) { s.auto_augment.clear(); }},
      {"color-jitter",
       [](TrainSettings& s) {
         s.auto_augment.clear();
         s.augmentation.color_jitter = 0.4;
       }},
      {"train-crop", [](TrainSettings& s) { s.augmentation.crop = TrainCrop::kNone; }},
      {"crop-scale", [](TrainSettings& s) { s.augmentation.resized_crop.min_area = 0.5; }},
      {"crop-ratio", [](TrainSettings& s) { s.augmentation.resized_crop.max_aspect = 1; }},
      {"train-interpolation", [](TrainSettings& s) { s.augmentation.interpolation.reset(); }},
      {"flip-mode", [](TrainSettings& s) { s.augmentation.flip_mode = FlipMode::kRandom; }},
      {"erasing", [](TrainSettings& s) { s.augmentation.erasing.probability = 0; }},
      {"erasing-mode", [](TrainSettings& s) { s.augmentation.erasing.mode = EraseMode::kConstant; }},
      {"seed", [](TrainSettings& s) { s.seed = 5; }},
  };
  for (const auto& [name, change] : changes) {
    settings_ = everything;
    change(settings_);
    train_into("without_" + name);
    EXPECT_FALSE(torch::equal(weights("without_" + name), whole)) << "--" << name << " changes nothing";
  }
}

TEST_F(Run, PassesOverADamagedCheckpointForTheOneBeforeIt) {
  const std::string whole = train_into("whole");
  train_into("cut", {.after_epoch = 2});
  const fs::path newest = folder_ / "cut/checkpoints" / checkpoints("cut").back();
  fs::resize_file(newest, fs::file_size(newest) / 2);
  EXPECT_TRUE(train_into("cut", {.resume = true}) == whole);
  EXPECT_THAT(messages_, ::testing::HasSubstr(newest.filename().string()));
}

// A bit that turned over on the disk leaves a file that reads without complaint.
TEST_F(Run, PassesOverACheckpointWhoseBytesHaveChanged) {
  const std::string whole = train_into("whole");
  train_into("cut", {.after_epoch = 2});
  const fs::path newest = folder_ / "cut/checkpoints" / checkpoints("cut").back();
  std::string bytes = read_text(newest);
  bytes[bytes.size() - 100] = static_cast<char>(bytes[bytes.size() - 100] ^ 1);
  std::ofstream(newest, std::ios::binary) << bytes;
  EXPECT_TRUE(train_into("cut", {.resume = true}) == whole);
  EXPECT_THAT(messages_, ::testing::HasSubstr("checksum"));

  settings_.resume_from = newest;
  std::ofstream(newest, std::ios::binary) << bytes;
  expect_error(ErrorCode::kDamaged, {newest.string(), "checksum"}, [&] { train_into("cut", {.resume = true}); });
}

TEST_F(Run, GoesOnAfterTheCheckpointThatIsNamed) {
  settings_.keep_checkpoints = 100;
  const std::string whole = train_into("run");
  settings_.resume_from = folder_ / "run/checkpoints/step_000000006.safetensors";
  messages_.clear();
  EXPECT_TRUE(train_into("run", {.resume = true}) == whole);
  EXPECT_THAT(messages_, ::testing::HasSubstr("after step 2 of epoch 2"));
  EXPECT_THAT(logged_epochs("run"), ::testing::ElementsAre(1, 2, 3));
}

TEST_F(Run, KeepsTheNewestCheckpoints) {
  train_into("run");
  EXPECT_THAT(checkpoints("run"), ::testing::ElementsAre("step_000000011.safetensors", "step_000000012.safetensors"));
  settings_.keep_checkpoints = 3;
  settings_.checkpoint_minutes = 100;
  train_into("epochs");
  EXPECT_THAT(checkpoints("epochs"), ::testing::ElementsAre("step_000000004.safetensors", "step_000000008.safetensors",
                                                            "step_000000012.safetensors"));
}

TEST_F(Run, WithoutACheckpointResumedBeginsAtTheBeginning) {
  const std::string whole = train_into("run");
  EXPECT_TRUE(train_into("other", {.resume = true}) == whole);
  EXPECT_THAT(messages_, ::testing::HasSubstr("no checkpoint yet"));
}

TEST_F(Run, OfAFinishedRunResumedSaysSo) {
  const std::string whole = train_into("run");
  EXPECT_TRUE(train_into("run", {.resume = true}) == whole);
  EXPECT_THAT(messages_, ::testing::HasSubstr("nothing is left to do"));
}

TEST_F(Run, WarnsWhenItGoesOnWithAnotherNumberOfThreads) {
  train_into("run", {.after_steps = 2});
  settings_.threads = 2;
  train_into("run", {.resume = true});
  EXPECT_THAT(messages_, ::testing::HasSubstr("threads: 2 in place of 1"));
}

TEST_F(Run, SaysThatItsFolderHasVanished) {
  TrainCallbacks callbacks;
  callbacks.epoch = [this](const EpochReport&) { fs::remove_all(folder_ / "run/checkpoints"); };
  settings_.output = folder_ / "run";
  expect_error(ErrorCode::kNotFound, {"run/checkpoints"}, [&] { train(settings_, "", callbacks); });
  EXPECT_TRUE(fs::exists(folder_ / "run/model.safetensors")) << "what was there must stay";
}

TEST_F(Run, RemovesWhatAKilledRunHasLeftUnfinished) {
  train_into("run", {.after_epoch = 1});
  const fs::path left = folder_ / "run/checkpoints/.convnext-1-0.part";
  std::ofstream(left) << "half a checkpoint";
  train_into("run", {.resume = true});
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(Run, KeepsASecondProcessOutOfItsFolder) {
  settings_.output = folder_ / "run";
  TrainCallbacks callbacks;
  callbacks.epoch = [this](const EpochReport&) {
    TrainSettings second = settings_;
    second.resume = true;
    expect_error(ErrorCode::kInvalidArgument, {"another process", "--output"}, [&] { train(second, "", {}); });
  };
  train(settings_, "", callbacks);
}

TEST_F(Run, LeavesItsSettingsAloneWhenItCannotBeResumed) {
  settings_.output = folder_ / "run";
  train(settings_, "the first", {});
  settings_.lr = 5e-3;
  settings_.resume = true;
  EXPECT_THROW(train(settings_, "the second", {}), Error);
  EXPECT_EQ(read_text(folder_ / "run/settings.toml"), "the first");
}

TEST_F(Run, RefusesAFolderThatHoldsARun) {
  train_into("run");
  expect_error(ErrorCode::kInvalidArgument, {"run", "--resume"}, [&] { train_into("run"); });
}

TEST_F(Run, RefusesToResumeWithOtherSettings) {
  train_into("run", {.after_epoch = 1});
  settings_.lr = 5e-3;
  expect_error(ErrorCode::kMismatch, {"'lr'", "0.004", "0.005"}, [&] { train_into("run", {.resume = true}); });
}

TEST_F(Run, RefusesToResumeWithAnOptionThatWasOffOrThatWasOn) {
  train_into("off", {.after_epoch = 1});
  settings_.dropout = 0.25;
  expect_error(ErrorCode::kMismatch, {"'dropout'", "was null", "0.25"}, [&] { train_into("off", {.resume = true}); });
  train_into("on", {.after_epoch = 1});
  settings_.dropout = 0;
  expect_error(ErrorCode::kMismatch, {"'dropout'", "was 0.25", "null"}, [&] { train_into("on", {.resume = true}); });
}

TEST_F(Run, RefusesARateOfDropoutThatLeavesNothing) {
  for (const double rate : {-0.1, 1.0}) {
    settings_.dropout = rate;
    expect_error(ErrorCode::kInvalidArgument, {"--dropout", "below 1"}, [&] { train_into("run"); });
  }
}

TEST_F(Run, StopsWhenTheLossIsNotFiniteAndSaysWhereThatCameFrom) {
  settings_.lr = 900;
  settings_.epochs = 50;
  settings_.warmup_epochs = 0;
  expect_error(ErrorCode::kInvalidArgument, {"loss is", "at step", "--lr"}, [&] { train_into("run"); });
}

TEST_F(Run, NamesAClassFolderWithoutPictures) {
  fs::create_directories(folder_ / "data/train/empty");
  expect_error(ErrorCode::kMismatch, {"empty", "no pictures"}, [&] { train_into("run"); });
}

TEST_F(Run, NamesAHeldOutClassThatWasNotLearned) {
  draw_pictures(folder_ / "data/val", 1, 0);
  fs::rename(folder_ / "data/val/cross", folder_ / "data/val/circle");
  expect_error(ErrorCode::kMismatch, {"circle", "cross"}, [&] { train_into("run"); });
}

TEST_F(Run, SaysThatABatchIsLargerThanTheData) {
  settings_.batch_size = 64;
  expect_error(ErrorCode::kInvalidArgument, {"32 pictures", "--batch-size"}, [&] { train_into("run"); });
}

TEST_F(Run, CannotBeWrittenBelowAFile) {
  write_file_atomically(folder_ / "file", "");
  settings_.output = folder_ / "file/run";
  expect_error(ErrorCode::kIo, {"file/run"}, [&] { train(settings_, "", {}); });
}

TEST_F(Run, SaysThatABatchToMixIsOdd) {
  settings_.batch_size = 7;
  settings_.mixup = 0.8;
  expect_error(ErrorCode::kInvalidArgument, {"--batch-size", "even"}, [&] { train_into("run"); });
}

TEST_F(Run, HoldsAPartOutWhereThereIsNoValidation) {
  fs::remove_all(folder_ / "data/val");
  settings_.hold_out = 0.25;
  train_into("run");
  EXPECT_THAT(messages_, ::testing::HasSubstr("8 pictures"));
  ASSERT_TRUE(reports_.back().model.has_value());
}

// ---- a run that begins from weights -------------------------------------------------------------------------------

class FineTuning : public Run {
 protected:
  FineTuning() {
    settings_.epochs = 1;
    settings_.warmup_epochs = 0;
    settings_.ema_decay = 0;
    train_into("first");
    settings_.model.clear();
    settings_.overrides = {};
    settings_.init = folder_ / "first";
    settings_.resolution = 0;
  }

  torch::Tensor tensor(const std::string& run, const std::string& name) const {
    const Checkpoint checkpoint = read_checkpoint(folder_ / run);
    return torch::tensor(checkpoint.weights.floats(name));
  }
};

TEST_F(FineTuning, TakesNetworkResolutionAndClassifierFromTheFile) {
  settings_.lr = 1e-12;
  settings_.min_lr = 0;
  settings_.weight_decay = 0;
  train_into("second");
  EXPECT_THAT(messages_, ::testing::HasSubstr("its classifier is kept"));
  const Checkpoint first = read_checkpoint(folder_ / "first"), second = read_checkpoint(folder_ / "second");
  EXPECT_EQ(second.card.preprocessing, first.card.preprocessing);
  for (const auto& [name, view] : first.weights.all()) {
    const torch::Tensor before = tensor("first", name), after = tensor("second", name);
    EXPECT_LT((before - after).abs().max().item<float>(), 1e-9) << name;
  }
}

TEST_F(FineTuning, MakesTheClassifierNewForOtherClasses) {
  fs::rename(folder_ / "data/train/cross", folder_ / "data/train/plus");
  fs::rename(folder_ / "data/val/cross", folder_ / "data/val/plus");
  settings_.lr = 1e-12;
  settings_.min_lr = 0;
  settings_.weight_decay = 0;
  settings_.head_init_scale = 0;
  train_into("second");
  EXPECT_THAT(messages_, ::testing::HasSubstr("new: 2 classes in place of 2"));
  EXPECT_LT(tensor("second", "head.fc.weight").abs().max().item<float>(), 1e-9);
  EXPECT_GT(tensor("first", "head.fc.weight").abs().max().item<float>(), 1e-3);

  fs::create_directories(folder_ / "data/train/third");
  fs::copy(folder_ / "data/train/plus", folder_ / "data/train/third");
  train_into("three");
  EXPECT_THAT(messages_, ::testing::HasSubstr("new: 3 classes in place of 2"));
  EXPECT_EQ(read_checkpoint(folder_ / "three").card.labels.size(), 3u);
}

TEST_F(FineTuning, LeavesFrozenStagesAsTheyAre) {
  settings_.freeze_stages = 2;
  train_into("second");
  for (const std::string name : {"stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "stages.1.downsample.1.weight"}) {
    EXPECT_TRUE(torch::equal(tensor("first", name), tensor("second", name))) << name;
  }
  for (const std::string name : {"stages.2.blocks.0.conv_dw.weight", "head.fc.weight"}) {
    EXPECT_FALSE(torch::equal(tensor("first", name), tensor("second", name))) << name;
  }
}

TEST_F(FineTuning, TakesAnotherResolution) {
  settings_.resolution = 24;
  train_into("second");
  EXPECT_EQ(read_checkpoint(folder_ / "second").card.preprocessing.resolution, 24);
}

TEST_F(FineTuning, RefusesAShapeBesideAFile) {
  settings_.overrides.patch_size = 4;
  expect_error(ErrorCode::kInvalidArgument, {"--init", "--patch-size"}, [&] { train_into("second"); });
}

TEST_F(FineTuning, RefusesAFileOfAnotherArchitecture) {
  settings_.model = "convnext_atto";
  expect_error(ErrorCode::kMismatch, {"convnext_atto", "test_convnext2"}, [&] { train_into("second"); });
}

}  // namespace
}  // namespace convnext
