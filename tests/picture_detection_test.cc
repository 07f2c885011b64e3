// Detectors on pictures as they are in their files, and judged on the pictures of a COCO file.
#include "detect/picture_detection.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "detect/detector_evaluation.h"
#include "detect/engine_backbone.h"
#include "io/file.h"
#include "metrics/coco_results.h"
#include "tests/expect_error.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_detector.h"
#include "tests/torch_tensors.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::unique_ptr<Detector> tiny_detector(const DetectorCard& card = tiny_detector_card()) {
  auto detector = std::make_unique<Detector>(card.detector);
  load_weights(*detector, tiny_detector_weights(card));
  detector->eval();
  return detector;
}

void expect_equal(const PictureDetection& a, const PictureDetection& b) {
  EXPECT_EQ(a.box, b.box);
  EXPECT_EQ(a.class_index, b.class_index);
  EXPECT_EQ(a.score, b.score);
  EXPECT_EQ(a.mask, b.mask);
}

void expect_equal(const std::vector<PictureDetection>& a, const std::vector<PictureDetection>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) expect_equal(a[i], b[i]);
}

// A picture that has the network's size already, so that nothing is resized: what the network says is what is found.
TEST(DetectOn, IsWhatTheNetworkFinds) {
  const DetectorCard card = tiny_detector_card();
  const auto detector = tiny_detector();
  const Image picture = formula_picture(96, 64, 3);
  const std::vector<PictureDetection> found = detect_on(*detector, card, picture);
  const std::vector<Detection> expected = detector->detect(make_batch(std::array{picture}, card)).front();
  ASSERT_THAT(found, SizeIs(expected.size()));
  ASSERT_THAT(found, Not(IsEmpty()));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].box, expected[i].box);
    EXPECT_EQ(found[i].score, expected[i].score);
    EXPECT_EQ(found[i].class_index, expected[i].class_index);
  }
}

TEST(DetectOn, GivesBoxesAndMasksOfThePictureInItsFile) {
  const DetectorCard card = tiny_detector_card();
  const auto detector = tiny_detector();
  // Twice the size of the network's, and of another shape.
  for (const auto& [width, height] : {std::pair{192, 128}, {50, 200}, {7, 5}, {1, 1}}) {
    const std::vector<PictureDetection> found = detect_on(*detector, card, formula_picture(width, height, 3));
    EXPECT_TRUE(width < 10 || !found.empty());
    for (const PictureDetection& detection : found) {
      EXPECT_EQ(detection.mask.width, width);
      EXPECT_EQ(detection.mask.height, height);
      EXPECT_GE(detection.box.x1, 0);
      EXPECT_GE(detection.box.y1, 0);
      EXPECT_LE(detection.box.x2, static_cast<float>(width) + 1e-3f);
      EXPECT_LE(detection.box.y2, static_cast<float>(height) + 1e-3f);
      const BoundingBox bounds = mask_bounds(detection.mask);
      if (bounds.width == 0) continue;
      // Where the picture shrinks, a place of the mask reaches beyond its box by half of its size.
      EXPECT_GE(bounds.x, detection.box.x1 - 0.5 * detection.box.width() - 1);
      EXPECT_LE(bounds.x + bounds.width, detection.box.x2 + 0.5 * detection.box.width() + 1);
    }
  }
}

TEST(DetectOn, ABatchIsOfAnySizes) {
  const DetectorCard card = tiny_detector_card();
  const auto detector = tiny_detector();
  const std::array pictures{formula_picture(96, 64, 1), formula_picture(96, 32, 2), formula_picture(192, 128, 3)};
  const auto found = detect_on(*detector, card, std::span<const Image>(pictures));
  ASSERT_THAT(found, SizeIs(3u));
  // 192x128 becomes 96x64: two pictures of the batch are as large as all of it, and alone in a batch they are the same.
  for (const std::size_t i : {0u, 2u}) {
    const std::vector<PictureDetection> alone = detect_on(*detector, card, pictures[i]);
    ASSERT_EQ(found[i].size(), alone.size());
    for (std::size_t k = 0; k < alone.size(); ++k) EXPECT_NEAR(found[i][k].score, alone[k].score, 1e-5);
  }
  EXPECT_THAT(detect_on(*detector, card, std::span<const Image>()), IsEmpty());
}

TEST(DetectOnPictures, GivesWhatEachPictureGivesInOrder) {
  const DetectorCard card = tiny_detector_card();
  const auto detector = tiny_detector();
  constexpr std::size_t kPictures = 11;
  std::vector<Image> pictures;
  for (std::size_t i = 0; i < kPictures; ++i) {
    pictures.push_back(formula_picture(60 + static_cast<int>(i), 64, static_cast<std::uint64_t>(i)));
  }
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::size_t next = 0;
    std::atomic<int> with_picture = 0;
    DetectionTimes times;
    detect_on_pictures(*detector, card, kPictures, pool,
                       {.open =
                            [&](std::size_t number) {
                              if (number == 4) throw Error(ErrorCode::kDamaged, "picture 4 is torn");
                              return pictures[number];
                            },
                        .with_picture =
                            [&](const DetectedPicture& found, const Image& picture) {
                              EXPECT_EQ(picture.pixels, pictures[found.number].pixels);
                              ++with_picture;
                            },
                        .take =
                            [&](DetectedPicture& found) {
                              EXPECT_EQ(found.number, next++);
                              if (found.number == 4) {
                                EXPECT_THAT(found.error, HasSubstr("torn"));
                                EXPECT_THAT(found.detections, IsEmpty());
                                return;
                              }
                              EXPECT_THAT(found.error, IsEmpty());
                              EXPECT_EQ(found.size, (PictureSize{64, pictures[found.number].width}));
                              expect_equal(found.detections, detect_on(*detector, card, pictures[found.number]));
                            },
                        .times = &times});
    EXPECT_EQ(next, kPictures);
    EXPECT_EQ(with_picture, static_cast<int>(kPictures) - 1);
    EXPECT_GT(times.opening, 0);
    EXPECT_GT(times.pasting, 0);
    for (const double seconds : times.parts) EXPECT_GT(seconds, 0);
  }
}

TEST(DetectOnPictures, PassesOnWhatItsCallbacksThrow) {
  const DetectorCard card = tiny_detector_card();
  const auto detector = tiny_detector();
  ThreadPool pool(2);
  const auto run = [&](bool from_pool) {
    detect_on_pictures(*detector, card, 9, pool,
                       {.open = [](std::size_t) { return formula_picture(64, 64, 1); },
                        .with_picture =
                            [&](const DetectedPicture& found, const Image&) {
                              if (from_pool && found.number == 5) throw Error(ErrorCode::kIo, "the disk is full");
                            },
                        .take =
                            [&](DetectedPicture& found) {
                              if (!from_pool && found.number == 5) throw Error(ErrorCode::kIo, "the disk is full");
                            }});
  };
  for (const bool from_pool : {true, false}) {
    expect_error(ErrorCode::kIo, {"the disk is full"}, [&] { run(from_pool); });
  }
}

// ---- the backbone by the engine

TEST(EngineBackbone, GivesTheMapsAndDetectionsOfLibtorch) {
  for (const char* name : {"mask_rcnn_convnext_atto", "cascade_mask_rcnn_convnextv2_atto"}) {
    SCOPED_TRACE(name);
    const DetectorCard card = tiny_detector_card(name);
    const WeightStore weights = tiny_detector_weights(card);
    const auto by_libtorch = tiny_detector(card), by_engine = tiny_detector(card);
    ThreadPool pool(2);
    StageMaps maps = engine_backbone(card.detector, weights, pool);
    ASSERT_TRUE(maps);

    // What load_weights() gave the detector's backbone.
    const auto backbone = make_backbone(card.detector.backbone);
    WeightStore own;
    for (const auto& [key, view] : weights.all()) {
      if (key.starts_with("backbone.")) own.add(key.substr(9), view, nullptr);
    }
    load_weights(*backbone, own);
    backbone->eval();
    const torch::NoGradGuard no_grad;
    for (const Shape& shape : {Shape{1, 3, 64, 96}, Shape{2, 3, 96, 32}, Shape{1, 3, 256, 160}}) {
      const torch::Tensor pictures = formula_pictures(shape, 5) * 8;
      const std::vector<torch::Tensor> expected = backbone->forward(pictures).stages, given = maps(pictures);
      ASSERT_THAT(given, SizeIs(expected.size()));
      for (std::size_t i = 0; i < given.size(); ++i) {
        EXPECT_TRUE(tensors_close(from_torch(given[i]), from_torch(expected[i]), {.relative = 1e-4, .largest = 1e-4}))
            << "stage " << i;
      }
    }

    by_engine->detect_with(std::move(maps));
    const Image picture = formula_picture(96, 64, 3);
    const auto expected = detect_on(*by_libtorch, card, picture), found = detect_on(*by_engine, card, picture);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].score, expected[i].score, 1e-4);
      EXPECT_NEAR(found[i].box.x1, expected[i].box.x1, 1e-2);
      EXPECT_NEAR(found[i].box.y2, expected[i].box.y2, 1e-2);
    }
  }
}

TEST(EngineBackbone, IsThereForConvNeXtOnly) {
  ThreadPool pool(1);
  const DetectorConfig config = find_detector("mask_rcnn_resnet50").value().config;
  EXPECT_FALSE(engine_backbone(config, {}, pool));
}

// ---- judged

// Five pictures whose objects are what the detector itself finds on them: every figure is 1.
class Evaluation : public testing::Test {
 protected:
  static constexpr int kPictures = 5;

  Evaluation() : detector_(tiny_detector()) {
    truth_ = {{"images", json::array()}, {"annotations", json::array()}, {"categories", json::array()}};
    for (std::size_t c = 0; c < card_.labels.size(); ++c) {
      truth_["categories"].push_back({{"id", 10 * c + 3}, {"name", card_.labels[c]}});
    }
    for (int i = 0; i < kPictures; ++i) {
      const Image picture = formula_picture(100 + 10 * i, 80, static_cast<std::uint64_t>(i));
      const std::string name = std::to_string(i) + ".png";
      write_picture(folder_ / "pictures" / name, picture);
      truth_["images"].push_back(
          {{"id", 100 + i}, {"file_name", name}, {"width", picture.width}, {"height", picture.height}});
      for (const PictureDetection& found : detect_on(*detector_, card_, picture)) {
        truth_["annotations"].push_back(
            {{"id", truth_["annotations"].size() + 1},
             {"image_id", 100 + i},
             {"category_id", 10 * found.class_index + 3},
             {"bbox", {found.box.x1, found.box.y1, found.box.width(), found.box.height()}},
             {"area", mask_area(found.mask)},
             {"iscrowd", 0},
             {"segmentation", {{"size", {picture.height, picture.width}}, {"counts", compressed_counts(found.mask)}}}});
      }
    }
  }

  CocoPictures open(const CocoPicturesOptions& options = {.only_with_objects = false, .areas = true}) const {
    write_file_atomically(folder_ / "truth.json", truth_.dump());
    return CocoPictures::open(folder_ / "truth.json", folder_ / "pictures", options);
  }

  TemporaryFolder folder_;
  DetectorCard card_ = tiny_detector_card();
  std::unique_ptr<Detector> detector_;
  json truth_;
  ThreadPool pool_{2};
};

TEST_F(Evaluation, OfWhatTheDetectorFindsItselfIsPerfect) {
  ASSERT_GT(truth_["annotations"].size(), 20u);
  const CocoPictures pictures = open();
  std::int64_t heard = 0;
  const DetectorScores scores =
      evaluate_detector(*detector_, card_, pictures, pool_, [&](std::int64_t done) { heard += done; });
  EXPECT_EQ(heard, kPictures);
  EXPECT_EQ(scores.pictures, kPictures);
  EXPECT_THAT(scores.failures, IsEmpty());
  EXPECT_EQ(scores.detections.size(), truth_["annotations"].size());
  EXPECT_GT(scores.seconds, 0);
  EXPECT_NEAR(scores.boxes.stats[0], 1, 1e-9);  // AP
  EXPECT_NEAR(scores.boxes.stats[8], 1, 1e-9);  // AR100
  // Nothing overlaps a mask without a pixel, which a box at the border may have.
  EXPECT_GT(scores.masks.stats[0], 0.8);
  EXPECT_GT(scores.masks.stats[8], 0.8);

  // Of batches nobody can say more: pictures are padded.
  const DetectorScores batched = evaluate_detector(*detector_, card_, pictures, pool_, {}, {.batch_size = 2});
  EXPECT_EQ(batched.pictures, kPictures);
}

TEST_F(Evaluation, LeavesTheDetectorInItsMode) {
  const CocoPictures pictures = open();
  for (const bool training : {true, false}) {
    detector_->train(training);
    evaluate_detector(*detector_, card_, pictures, pool_);
    EXPECT_EQ(detector_->is_training(), training);
  }
  // Also when it throws.
  detector_->train();
  EXPECT_ANY_THROW(evaluate_detector(*detector_, card_, pictures, pool_,
                                     [](std::int64_t) { throw Error(ErrorCode::kIo, "stopped"); }));
  EXPECT_TRUE(detector_->is_training());
}

TEST_F(Evaluation, CountsPicturesThatFailAsEmpty) {
  const double all = evaluate_detector(*detector_, card_, open(), pool_).boxes.stats[8];
  std::filesystem::remove(folder_ / "pictures/0.png");
  folder_.write("pictures/1.png", "no picture");
  truth_["images"][2]["width"] = 90;
  for (json& annotation : truth_["annotations"]) {
    // Whatever has the size that the file says now.
    if (annotation["image_id"] == 102) annotation["segmentation"] = {{1, 1, 20, 1, 20, 20}};
  }
  const DetectorScores scores = evaluate_detector(*detector_, card_, open(), pool_);
  EXPECT_EQ(scores.pictures, kPictures);
  ASSERT_THAT(scores.failures, SizeIs(3));
  EXPECT_THAT(scores.failures[0], HasSubstr("0.png"));
  EXPECT_THAT(scores.failures[1], HasSubstr("1.png"));
  EXPECT_THAT(scores.failures[2], testing::AllOf(HasSubstr("2.png"), HasSubstr("120x80"), HasSubstr("90x80")));
  EXPECT_LT(scores.boxes.stats[8], all);
  for (const CocoDetection& detection : scores.detections) EXPECT_GE(detection.picture, 3);
}

// What lies in a crowd is neither right nor wrong.
TEST_F(Evaluation, JudgesCrowdsAsPycocotools) {
  for (json& annotation : truth_["annotations"]) {
    if (annotation["image_id"] == 101) annotation["iscrowd"] = 1;
  }
  const DetectorScores scores = evaluate_detector(*detector_, card_, open(), pool_);
  EXPECT_NEAR(scores.boxes.stats[8], 1, 1e-9);
  EXPECT_NEAR(scores.boxes.stats[0], 1, 1e-9);
  EXPECT_GT(scores.masks.stats[0], 0.8);
}

TEST_F(Evaluation, RefusesAnotherSetOfClasses) {
  json other = truth_;
  truth_["categories"][1]["name"] = "wolf";
  expect_error(ErrorCode::kMismatch, {"class 1", "'dog'", "'wolf'", "id 13"},
               [&] { evaluate_detector(*detector_, card_, open(), pool_); });
  truth_["categories"][1].erase("name");
  EXPECT_EQ(evaluate_detector(*detector_, card_, open(), pool_).pictures, kPictures);
  truth_ = other;
  truth_["categories"].push_back({{"id", 99}, {"name", "yak"}});
  expect_error(ErrorCode::kMismatch, {"5 classes", "6 categories"},
               [&] { evaluate_detector(*detector_, card_, open(), pool_); });
  card_.labels.clear();
  truth_ = other;
  truth_["categories"][1]["name"] = "wolf";
  EXPECT_EQ(evaluate_detector(*detector_, card_, open(), pool_).pictures, kPictures);
}

TEST_F(Evaluation, WantsAreasAndAllPictures) {
  expect_error(ErrorCode::kInvalidArgument, {"areas"}, [&] { evaluate_detector(*detector_, card_, open({}), pool_); });
  truth_["images"].push_back({{"id", 7}, {"file_name", "empty.png"}, {"width", 10}, {"height", 10}});
  expect_error(ErrorCode::kInvalidArgument, {"show nothing"},
               [&] { evaluate_detector(*detector_, card_, open({.only_with_objects = true, .areas = true}), pool_); });
  truth_["annotations"][0].erase("area");
  expect_error(ErrorCode::kDamaged, {"area"}, [&] { open(); });
}

// What is written is read back to the bit, and judged the same.
TEST_F(Evaluation, WritesResultsThatAreReadBack) {
  const CocoPictures pictures = open();
  const DetectorScores scores = evaluate_detector(*detector_, card_, pictures, pool_);
  const CocoDataset& truth = pictures.dataset();
  write_file_atomically(folder_ / "results.json", coco_results_text(truth, scores.detections));
  const CocoResults results = read_coco_results(folder_ / "results.json", truth, /*masks=*/true);
  EXPECT_THAT(results.warnings, IsEmpty());
  ASSERT_EQ(results.detections.size(), scores.detections.size());
  for (std::size_t i = 0; i < results.detections.size(); ++i) {
    const CocoDetection &back = results.detections[i], &own = scores.detections[i];
    EXPECT_EQ(back.picture, own.picture);
    EXPECT_EQ(back.category, own.category);
    EXPECT_EQ(back.box, own.box);
    EXPECT_EQ(back.score, own.score);
    const CocoPicture& picture = truth.pictures[static_cast<std::size_t>(own.picture)];
    EXPECT_EQ(mask_of(back.segmentation, picture.height, picture.width),
              mask_of(own.segmentation, picture.height, picture.width));
  }
  EXPECT_EQ(evaluate_coco(truth, results.detections, CocoType::kBoxes, pool_).stats, scores.boxes.stats);
  EXPECT_EQ(CocoResultsWriter().text(), "[]\n");
}

}  // namespace
}  // namespace convnext
