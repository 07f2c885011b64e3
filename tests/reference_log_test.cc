// Logs of runs, ours and the authors', and what is said of a run that goes another way than its reference.
#include "train/reference_log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Optional;

class LogTest : public testing::Test {
 protected:
  RunLog read(const std::string& text) {
    folder_.write("log", text);
    return read_run_log(folder_ / "log");
  }
  TemporaryFolder folder_;
};

constexpr const char* kOurs =
    R"({"epoch":1,"steps":20,"lr":0.002,"train_loss":2.0,"model":{"top1":30.0,"top5":80.0,"loss":1.9},)"
    R"("average":{"top1":20.0,"top5":70.0,"loss":2.1},"effective_batch":64,"ema_decay":0.99,"steps_an_epoch":20})"
    "\n"
    R"({"epoch":2,"steps":40,"lr":0.001,"train_loss":1.5,"model":{"top1":40.0,"top5":90.0,"loss":1.4},)"
    R"("average":{"top1":50.0,"top5":95.0,"loss":1.3},"effective_batch":64,"ema_decay":0.99,"steps_an_epoch":20})"
    "\n";

constexpr const char* kAuthors =
    R"({"train_lr": 0.0005, "train_min_lr": 0.0005, "train_loss": 6.5, "train_weight_decay": 0.05,)"
    R"( "test_loss": 5.5, "test_acc1": 5.0, "test_acc5": 15.0, "epoch": 0, "n_parameters": 28589128,)"
    R"( "test_loss_ema": 6.9, "test_acc1_ema": 0.1, "test_acc5_ema": 0.5})"
    "\n"
    R"({"train_lr": 0.0015, "train_min_lr": 0.0015, "train_loss": 5.5, "train_weight_decay": 0.05,)"
    R"( "test_loss": 4.5, "test_acc1": 15.0, "test_acc5": 35.0, "epoch": 1, "n_parameters": 28589128,)"
    R"( "test_loss_ema": 6.8, "test_acc1_ema": 0.2, "test_acc5_ema": 0.9})"
    "\n";

TEST_F(LogTest, OfOursIsRead) {
  const RunLog log = read(kOurs);
  ASSERT_EQ(log.epochs.size(), 2u);
  EXPECT_EQ(log.epochs[1].epoch, 2);
  EXPECT_THAT(log.epochs[1].lr, Optional(0.001));
  EXPECT_EQ(log.epochs[1].mean_lr, std::nullopt);
  EXPECT_THAT(log.epochs[1].train_loss, Optional(1.5));
  EXPECT_THAT(log.epochs[1].model_top1, Optional(40.0));
  EXPECT_THAT(log.epochs[1].model_loss, Optional(1.4));
  EXPECT_THAT(log.epochs[1].average_top1, Optional(50.0));
  EXPECT_THAT(log.epochs[1].average_loss, Optional(1.3));
  EXPECT_THAT(log.effective_batch, Optional(64));
  EXPECT_THAT(log.steps_an_epoch, Optional(20));
  EXPECT_THAT(log.has_average, Optional(true));
  EXPECT_THAT(log.ema_decay, Optional(0.99));
  EXPECT_EQ(log.parameters, std::nullopt);
}

TEST_F(LogTest, OfTheAuthorsIsReadWithItsEpochsFromZero) {
  const RunLog log = read(kAuthors);
  ASSERT_EQ(log.epochs.size(), 2u);
  EXPECT_EQ(log.epochs[0].epoch, 1);
  EXPECT_EQ(log.epochs[1].epoch, 2);
  EXPECT_THAT(log.epochs[0].mean_lr, Optional(0.0005));
  EXPECT_EQ(log.epochs[0].lr, std::nullopt);
  EXPECT_THAT(log.epochs[0].train_loss, Optional(6.5));
  EXPECT_THAT(log.epochs[0].model_loss, Optional(5.5));
  EXPECT_THAT(log.epochs[0].model_top1, Optional(5.0));
  EXPECT_THAT(log.epochs[0].average_loss, Optional(6.9));
  EXPECT_THAT(log.epochs[0].average_top1, Optional(0.1));
  EXPECT_THAT(log.parameters, Optional(28589128));
  EXPECT_THAT(log.has_average, Optional(true));
  EXPECT_EQ(log.ema_decay, std::nullopt);
  EXPECT_EQ(log.effective_batch, std::nullopt);
}

TEST_F(LogTest, TheShippedModelsIsRead) {
  const RunLog log = read_run_log(CONVNEXT_SOURCE_DIR "/models/convnext_cifar10.log.jsonl");
  EXPECT_EQ(log.epochs.size(), 40u);
  EXPECT_THAT(log.steps_an_epoch, Optional(781));
  EXPECT_THAT(log.has_average, Optional(true));
  EXPECT_THAT(log.ema_decay, Optional(0.9995));
  EXPECT_THAT(log.effective_batch, Optional(64));
}

TEST_F(LogTest, OfAnOlderVersionLacksWhatWasNotWritten) {
  const RunLog log =
      read(R"({"epoch":1,"steps":781,"lr":0.002,"train_loss":1.9,"model":{"top1":44.1,"top5":91.0,"loss":1.56},)"
           R"("average":{"top1":40.0,"top5":87.9,"loss":1.7},"seconds":137.2,"pictures_per_second":364.4})");
  EXPECT_THAT(log.steps_an_epoch, Optional(781));
  EXPECT_THAT(log.has_average, Optional(true));
  EXPECT_EQ(log.ema_decay, std::nullopt);
}

TEST_F(LogTest, TellsNothingOfAnAverageWithoutATest) {
  EXPECT_EQ(read(R"({"epoch":1,"steps":20,"lr":1e-3,"train_loss":2.0})").has_average, std::nullopt);
  EXPECT_EQ(read(R"({"epoch":0,"train_lr":1e-3,"train_loss":2.0})").has_average, std::nullopt);
  EXPECT_THAT(read(R"({"epoch":0,"train_lr":1e-3,"train_loss":2.0,"test_acc1":3})").has_average, Optional(false));
}

TEST_F(LogTest, OfARestartedRunCountsTheLaterLines) {
  const RunLog log = read(
      "{\"epoch\":1,\"lr\":1,\"train_loss\":3}\n{\"epoch\":2,\"lr\":1,\"train_loss\":2}\n"
      "\r\n{\"epoch\":2,\"lr\":1,\"train_loss\":1}\n");
  ASSERT_EQ(log.epochs.size(), 2u);
  EXPECT_THAT(log.epochs[1].train_loss, Optional(1.0));
}

TEST_F(LogTest, OfARunThatWasKilledWhileWritingIsReadUpToThere) {
  const std::string whole = kOurs;
  EXPECT_EQ(read(whole.substr(0, whole.size() - 10)).epochs.size(), 1u);
  // A cut within the log is damage.
  expect_error(ErrorCode::kDamaged, {"line 1", "no JSON object"}, [&] { read(whole.substr(20)); });
}

TEST_F(LogTest, OfSomethingElseIsRefusedWithTheLine) {
  const std::string good = "{\"epoch\":1,\"lr\":1}\n";
  for (const auto& [line, text] : {std::pair{"", "no epoch"},
                                   {"\n\n", "no epoch"},
                                   {"7\n", "line 1 is no JSON object"},
                                   {"{\"epoch\":1}\n", "'lr'"},
                                   {"{\"lr\":1}\n", "no epoch"},
                                   {"{\"epoch\":0,\"lr\":1}\n", "no epoch"},
                                   {"{\"epoch\":-1,\"train_lr\":1}\n", "counts nothing"},
                                   {"{\"epoch\":1e300,\"lr\":1}\n", "counts nothing"},
                                   {"{\"epoch\":1.5,\"lr\":1}\n", "1.5"},
                                   {"{\"epoch\":1,\"lr\":\"high\"}\n", "'lr' that is no number"},
                                   {"{\"epoch\":1,\"lr\":1,\"model\":3}\n", "'model' that is no object"},
                                   {"{\"epoch\":1,\"lr\":1,\"model\":{\"top1\":[]}}\n", "'top1' that is no number"},
                                   {"{\"epoch\":1,\"lr\":1,\"effective_batch\":-4}\n", "effective_batch"}}) {
    SCOPED_TRACE(line);
    expect_error(ErrorCode::kDamaged, {text, "/log'"}, [&, text = line] { read(text); });
    if (*line == '{') expect_error(ErrorCode::kDamaged, {"line 2"}, [&, text = line] { read(good + text); });
  }
  expect_error(ErrorCode::kNotFound, {"missing"}, [] { read_run_log("missing"); });
}

TEST_F(LogTest, NumbersThatAreMissingStayEmpty) {
  const RunLog log = read("{\"epoch\":1,\"lr\":null,\"train_loss\":null,\"model\":{}}\n");
  EXPECT_EQ(log.epochs[0].lr, std::nullopt);
  EXPECT_EQ(log.epochs[0].train_loss, std::nullopt);
  EXPECT_EQ(log.epochs[0].model_top1, std::nullopt);
}

TEST_F(LogTest, MakesCurves) {
  const RunCurves ours = curves_of(read(kOurs));
  ASSERT_EQ(ours.average_top1.size(), 2u);
  EXPECT_EQ(ours.average_top1[1].x, 2.0);
  EXPECT_EQ(ours.average_top1[1].y, 50.0);
  EXPECT_EQ(ours.lr[0].y, 0.002);
  EXPECT_EQ(curves_of(read(kAuthors)).lr[1].y, 0.0015);
  EXPECT_THAT(curves_of(read("{\"epoch\":1,\"lr\":1}\n")).model_loss, IsEmpty());
}

// A plan that is that of kOurs: a rate of 0.002 at the end of the first epoch, and of 0.001 at that of the second.
class ReferenceTest : public LogTest {
 protected:
  ReferenceTest() : lr_(40, 0.5) {
    lr_[19] = 0.002;
    lr_[39] = 0.001;
  }
  RunPlan plan() const {
    return {.epochs = 2, .steps_an_epoch = 20, .effective_batch = 64, .ema_decay = 0.99, .parameters = 5, .lr = lr_};
  }
  std::vector<double> lr_;
};

TEST_F(ReferenceTest, OfAnEqualRunSaysNothing) { EXPECT_THAT(differences(read(kOurs), plan()), IsEmpty()); }

TEST_F(ReferenceTest, NamesAnotherEffectiveBatch) {
  RunPlan other = plan();
  other.effective_batch = 16;
  EXPECT_THAT(differences(read(kOurs), other),
              ElementsAre(AllOf(HasSubstr("effective batch is 16 here and 64"), HasSubstr("--accumulate"))));
}

TEST_F(ReferenceTest, NamesAMissingAnUnexpectedAndAnotherAverage) {
  RunPlan other = plan();
  other.ema_decay = 0;
  EXPECT_THAT(differences(read(kOurs), other), ElementsAre(HasSubstr("this run does not: see --ema-decay")));
  other.ema_decay = 0.9999;
  EXPECT_THAT(differences(read(kOurs), other), ElementsAre(HasSubstr("decay is 0.9999 here and 0.99 in")));
  const RunLog without = read("{\"epoch\":2,\"lr\":0.001,\"ema_decay\":0}\n");
  EXPECT_THAT(differences(without, plan()), ElementsAre(HasSubstr("the reference does not")));
}

TEST_F(ReferenceTest, NamesTheFirstEpochWithAnotherLearningRate) {
  lr_[19] = 0.002 * 1.009;
  EXPECT_THAT(differences(read(kOurs), plan()), IsEmpty());
  lr_[19] = 0.002 * 1.011;
  EXPECT_THAT(differences(read(kOurs), plan()),
              ElementsAre(AllOf(HasSubstr("at the end of epoch 1 is 0.002022 here and 0.002"), HasSubstr("1 of 2"))));
  lr_[19] = 0.002;
  lr_[39] = 0.0;
  EXPECT_THAT(differences(read(kOurs), plan()), ElementsAre(HasSubstr("end of epoch 2 is 0 here")));
}

TEST_F(ReferenceTest, ComparesTheAuthorsLearningRateAsTheMeanOfAnEpoch) {
  RunPlan authors = plan();
  authors.parameters = 28589128;
  // The authors' warm-up: from 0 to 0.002 in two epochs of 20 steps.
  for (std::size_t i = 0; i < 40; ++i) lr_[i] = 0.002 * static_cast<double>(i) / 39;
  EXPECT_THAT(differences(read(kAuthors), authors), ElementsAre(HasSubstr("mean learning rate of epoch 1")))
      << "40 steps show the half step that an ImageNet epoch hides";
  for (std::size_t i = 0; i < 40; ++i) lr_[i] = 0.002 * (static_cast<double>(i) + 0.5) / 40;
  EXPECT_THAT(differences(read(kAuthors), authors), IsEmpty());
}

TEST_F(ReferenceTest, NamesAnotherNetworkAnotherLengthAndOtherSteps) {
  RunPlan other = plan();
  other.parameters = 28589129;
  lr_.assign(40, 0.001);
  EXPECT_THAT(differences(read(kAuthors), other), Contains(HasSubstr("28589129 here and 28589128")));
  const RunLog longer = read(std::string(kOurs) + "{\"epoch\":3,\"lr\":0.001,\"steps\":60}\n");
  EXPECT_THAT(differences(longer, plan()), Contains(HasSubstr("epochs are 2 here and 3")));
  other = plan();
  other.steps_an_epoch = 10;
  EXPECT_THAT(differences(read(kOurs), other), ElementsAre(HasSubstr("steps an epoch are 10 here and 20")))
      << "without a table of that length learning rates are not compared";
}

TEST_F(ReferenceTest, ComparesTheEpochsThatBothHave) {
  const RunLog later = read("{\"epoch\":2,\"lr\":0.001}\n{\"epoch\":900,\"lr\":0.001}\n");
  EXPECT_THAT(differences(later, plan()), ElementsAre(HasSubstr("epochs are 2 here and 900")));
}

TEST_F(ReferenceTest, WarnsOfALossThatLiesTooHigh) {
  const RunLog log = read(kOurs);
  EXPECT_EQ(loss_warning(log, 1, 2.0), std::nullopt);
  EXPECT_EQ(loss_warning(log, 1, 0.1), std::nullopt);
  EXPECT_EQ(loss_warning(log, 1, 2.0 * (1 + kLossTolerance) - 1e-6), std::nullopt);
  EXPECT_THAT(loss_warning(log, 1, 2.5), Optional(AllOf(HasSubstr("epoch 1"), HasSubstr("2.5000"), HasSubstr("2.0000"),
                                                        HasSubstr("25.0 % above"))));
  EXPECT_THAT(loss_warning(log, 2, 2.0), Optional(HasSubstr("epoch 2")));
  EXPECT_THAT(loss_warning(log, 2, std::numeric_limits<double>::quiet_NaN()), Optional(HasSubstr("nan")));
  EXPECT_EQ(loss_warning(log, 3, 9.0), std::nullopt) << "the reference is shorter";
}

TEST_F(ReferenceTest, DoesNotWarnOfALittleAboveNearlyNothing) {
  const RunLog log = read("{\"epoch\":1,\"lr\":1,\"train_loss\":0.01}\n");
  EXPECT_EQ(loss_warning(log, 1, 0.02), std::nullopt);
  EXPECT_THAT(loss_warning(log, 1, 0.04), Optional(HasSubstr("epoch 1")));
}

}  // namespace
}  // namespace convnext
