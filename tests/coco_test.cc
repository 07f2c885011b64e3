// COCO's masks, files and measure, against pycocotools (tools/goldens/coco.py) and against bad input.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/peak_memory.h"
#include "io/file.h"
#include "metrics/coco_evaluation.h"
#include "metrics/coco_file.h"
#include "metrics/mask_rle.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// The numbers that tools/goldens/coco.py draws from.
class Numbers {
 public:
  explicit Numbers(std::string_view name) : key_(hash_name(name) + mix(7)) {}

  std::uint64_t next() { return mix(++key_); }
  int below(int count) { return static_cast<int>(next() % static_cast<std::uint64_t>(count)); }
  double unit() { return unit_float(next()); }

 private:
  std::uint64_t key_;
};

std::vector<double> drawn_polygon(Numbers& numbers, int height, int width) {
  const int corners = 3 + numbers.below(8);
  const int kind = numbers.below(3);
  const double grid = kind == 1 ? 2 : 1;
  std::vector<double> points;
  for (int i = 0; i < corners; ++i) {
    for (const int side : {width, height}) {
      const double value = numbers.unit() * (1.5 * side) - 0.25 * side;
      points.push_back(kind < 2 ? std::floor(value * grid) / grid : value);
    }
  }
  return points;
}

std::vector<std::uint8_t> drawn_bitmap(Numbers& numbers, int height, int width) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width));
  std::uint8_t one = 0;
  for (int x = 0; x < width; ++x) {
    for (int y = 0; y < height; ++y) {
      if (numbers.below(4) == 0) one = static_cast<std::uint8_t>(numbers.below(2));
      pixels[static_cast<std::size_t>(y * width + x)] = one;
    }
  }
  return pixels;
}

MaskRle drawn_mask(Numbers& numbers, int height, int width) {
  if (numbers.below(2) == 0) return encode_mask(drawn_bitmap(numbers, height, width), height, width);
  return mask_from_polygon(drawn_polygon(numbers, height, width), height, width);
}

// Lines with line feeds between them, as Python joins them. No line is empty.
void add_line(std::string& text, const std::string& line) {
  if (!text.empty()) text += '\n';
  text += line;
}

std::string hash_of(std::string_view bytes) { return fmt::format("{:016x}", hash_name(bytes)); }
std::string_view bytes_of_doubles(const std::vector<double>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

const json& mask_goldens() {
  static const json goldens = json::parse(read_text(golden_path("coco/masks.json")));
  return goldens;
}

std::vector<double> numbers_of(const BoundingBox& box) { return {box.x, box.y, box.width, box.height}; }

// Masks.

TEST(MaskRle, PolygonsAreThoseOfPycocotools) {
  const int height = mask_goldens()["height"], width = mask_goldens()["width"];
  for (const json& golden : mask_goldens()["polygons"]) {
    const MaskRle mask = mask_from_polygons(golden["polygons"].get<CocoPolygons>(), height, width);
    EXPECT_EQ(compressed_counts(mask), golden["counts"]) << golden["name"];
    EXPECT_EQ(mask_area(mask), golden["area"]) << golden["name"];
    EXPECT_EQ(numbers_of(mask_bounds(mask)), golden["bounds"].get<std::vector<double>>()) << golden["name"];
  }
}

TEST(MaskRle, RunsOfNothingAreKeptAsPycocotoolsKeepsThem) {
  for (const json& golden : mask_goldens()["runs"]) {
    const MaskRle mask = mask_from_counts(golden["runs"].get<std::vector<std::uint32_t>>(), 20, 30);
    EXPECT_EQ(compressed_counts(mask), golden["counts"]);
    EXPECT_EQ(mask_from_compressed_counts(golden["counts"].get<std::string>(), 20, 30), mask);
    EXPECT_EQ(mask_area(mask), golden["area"]);
    EXPECT_EQ(numbers_of(mask_bounds(mask)), golden["bounds"].get<std::vector<double>>()) << golden["runs"];
  }
}

TEST(MaskRle, ThousandsOfPolygonsHaveTheBitsOfPycocotools) {
  Numbers numbers("polygons");
  std::string texts;
  for (int i = 0; i < 3000; ++i) {
    const int height = 1 + numbers.below(60), width = 1 + numbers.below(60);
    CocoPolygons polygons(static_cast<std::size_t>(1 + numbers.below(2)));
    for (std::vector<double>& polygon : polygons) polygon = drawn_polygon(numbers, height, width);
    const MaskRle mask = mask_from_polygons(polygons, height, width);
    const BoundingBox bounds = mask_bounds(mask);
    add_line(texts, fmt::format("{} {} [{:.0f}, {:.0f}, {:.0f}, {:.0f}]", compressed_counts(mask), mask_area(mask),
                                bounds.x, bounds.y, bounds.width, bounds.height));
  }
  EXPECT_EQ(hash_of(texts), mask_goldens()["hashes"]["polygons"]);

  Numbers of_boxes("box masks");
  texts.clear();
  for (int i = 0; i < 300; ++i) {
    BoundingBox box;
    for (double* side : {&box.x, &box.y, &box.width, &box.height}) *side = of_boxes.unit() * 40 - 8;
    add_line(texts, compressed_counts(mask_from_box(box, 30, 25)));
  }
  EXPECT_EQ(hash_of(texts), mask_goldens()["hashes"]["box_masks"]);
}

TEST(MaskRle, BitmapsGoThereAndBack) {
  Numbers numbers("bitmaps");
  std::string texts;
  for (int i = 0; i < 300; ++i) {
    const int height = 1 + numbers.below(20), width = 1 + numbers.below(20);
    const std::vector<std::uint8_t> pixels = drawn_bitmap(numbers, height, width);
    const MaskRle mask = encode_mask(pixels, height, width);
    EXPECT_EQ(decode_mask(mask), pixels);
    EXPECT_EQ(mask_area(mask), std::ranges::count(pixels, 1));
    const std::string text = compressed_counts(mask);
    EXPECT_EQ(mask_from_compressed_counts(text, height, width), mask);
    add_line(texts, text);
  }
  EXPECT_EQ(hash_of(texts), mask_goldens()["hashes"]["bitmaps"]);
}

TEST(MaskRle, OverlapsAndMergersAreThoseOfPycocotools) {
  Numbers numbers("overlaps");
  std::string overlaps, merged;
  for (int i = 0; i < 60; ++i) {
    const int height = 5 + numbers.below(30), width = 5 + numbers.below(30);
    std::vector<MaskRle> masks;
    for (int k = 0; k < 7; ++k) masks.push_back(drawn_mask(numbers, height, width));
    std::vector<std::uint8_t> crowds;
    for (int k = 0; k < 3; ++k) crowds.push_back(static_cast<std::uint8_t>(numbers.below(2)));
    overlaps += bytes_of_doubles(mask_iou(std::span(masks).first(4), std::span(masks).last(3), crowds));
    for (const MaskMerge merge : {MaskMerge::kUnion, MaskMerge::kIntersection}) {
      add_line(merged, compressed_counts(merge_masks(std::span(masks).first(3), merge)));
    }
  }
  EXPECT_EQ(hash_of(overlaps), mask_goldens()["hashes"]["mask_iou"]);
  EXPECT_EQ(hash_of(merged), mask_goldens()["hashes"]["merged"]);
}

TEST(MaskRle, OverlapsOfBoxesAreThoseOfPycocotools) {
  Numbers numbers("boxes");
  std::string overlaps;
  for (int i = 0; i < 300; ++i) {
    std::vector<BoundingBox> boxes(7);
    for (BoundingBox& box : boxes) {
      for (double* side : {&box.x, &box.y, &box.width, &box.height}) *side = numbers.unit() * 20 - 2;
    }
    std::vector<std::uint8_t> crowds;
    for (int k = 0; k < 3; ++k) crowds.push_back(static_cast<std::uint8_t>(numbers.below(2)));
    overlaps += bytes_of_doubles(box_iou(std::span(boxes).first(4), std::span(boxes).last(3), crowds));
  }
  EXPECT_EQ(hash_of(overlaps), mask_goldens()["hashes"]["box_iou"]);
}

TEST(MaskRle, MergingObeysItsLaws) {
  Numbers numbers("laws");
  for (int i = 0; i < 100; ++i) {
    const MaskRle a = drawn_mask(numbers, 17, 23), b = drawn_mask(numbers, 17, 23), c = drawn_mask(numbers, 17, 23);
    const auto unite = [](const MaskRle& x, const MaskRle& y) {
      return merge_masks(std::vector{x, y}, MaskMerge::kUnion);
    };
    const auto intersect = [](const MaskRle& x, const MaskRle& y) {
      return merge_masks(std::vector{x, y}, MaskMerge::kIntersection);
    };
    EXPECT_EQ(unite(a, b), unite(b, a));
    EXPECT_EQ(unite(a, unite(b, c)), unite(unite(a, b), c));
    EXPECT_EQ(intersect(a, unite(b, c)), unite(intersect(a, b), intersect(a, c)));
    EXPECT_EQ(unite(a, a), a);
    EXPECT_EQ(mask_area(unite(a, b)) + mask_area(intersect(a, b)), mask_area(a) + mask_area(b));
    const double both = mask_area(intersect(a, b)), either = mask_area(unite(a, b));
    const std::vector<std::uint8_t> no_crowd = {0};
    EXPECT_EQ(mask_iou(std::vector{a}, std::vector{b}, no_crowd).front(), both == 0 ? 0 : both / either);
  }
}

TEST(MaskRle, ARectangleOnTheGridHasItsArea) {
  Numbers numbers("rectangles");
  for (int i = 0; i < 200; ++i) {
    const int x = numbers.below(20), y = numbers.below(20), width = 1 + numbers.below(19),
              height = 1 + numbers.below(19);
    const BoundingBox box = {.x = 1.0 * x, .y = 1.0 * y, .width = 1.0 * width, .height = 1.0 * height};
    const MaskRle mask = mask_from_box(box, 40, 40);
    EXPECT_EQ(mask_area(mask), static_cast<std::uint32_t>(width * height));
    EXPECT_EQ(mask_bounds(mask), box);
  }
}

TEST(MaskRle, WhatIsNoMaskIsRefused) {
  using enum ErrorCode;
  const auto text = [](std::string_view counts, int height = 4, int width = 5) {
    return [=] { mask_from_compressed_counts(counts, height, width); };
  };
  EXPECT_EQ(compressed_counts(mask_from_counts({20}, 4, 5)), "d0");
  expect_error(kDamaged, {"add up to 19", "are 20"}, text("c0"));
  expect_error(kDamaged, {"add up to 0"}, text(""));
  expect_error(kDamaged, {"cut off"}, text("d"));
  expect_error(kDamaged, {"character 1", "'0' to 'o'"}, text("d\x7f"));
  expect_error(kDamaged, {"character 0"}, text("/"));
  expect_error(kDamaged, {"count 0", "-1"}, text("O"));
  expect_error(kDamaged, {"count 0", "more than 35 bits"}, text("oooooooooooooo0"));
  expect_error(kDamaged, {"count 0", "no number of pixels"}, text("PPPPPP?"));
  expect_error(kDamaged, {"count 3", "no number of pixels"}, text("110N"));
  expect_error(kInvalidArgument, {"0 x 4"}, text("d0", 4, 0));
  expect_error(kInvalidArgument, {"-5 x 4"}, text("d0", 4, -5));
  expect_error(kInvalidArgument, {"100000 x 100000"}, text("d0", 100000, 100000));
  expect_error(kDamaged, {"add up to 21"}, [] { mask_from_counts({3, 18}, 4, 5); });
  // Counts that overflow 32 bits to the right sum.
  expect_error(kDamaged, {"add up to 4294967316"}, [] { mask_from_counts({4294967295u, 21}, 4, 5); });
  expect_error(kInvalidArgument, {"21 pixels"}, [] { encode_mask(std::vector<std::uint8_t>(21), 4, 5); });
  // Twelve bytes that would be two gigabytes.
  const MaskRle large = mask_from_counts({2'000'000'000}, 40'000, 50'000);
  EXPECT_EQ(mask_area(large), 0u);
  expect_error(kUnsupported, {"50000 x 40000"}, [&] { decode_mask(large); });
  expect_error(kInvalidArgument, {"no mask"}, [] { merge_masks({}, MaskMerge::kUnion); });
  expect_error(kMismatch, {"5 x 4", "4 x 5"}, [] {
    merge_masks(std::vector{mask_from_counts({20}, 4, 5), mask_from_counts({20}, 5, 4)}, MaskMerge::kUnion);
  });
}

TEST(MaskRle, WhatIsNoPolygonIsRefused) {
  const auto polygon = [](std::vector<double> points) { return [=] { mask_from_polygon(points, 20, 30); }; };
  expect_error(ErrorCode::kDamaged, {"2 points"}, polygon({1, 1, 5, 5}));
  expect_error(ErrorCode::kDamaged, {"0 points"}, polygon({}));
  expect_error(ErrorCode::kDamaged, {"7 numbers"}, polygon({1, 1, 5, 5, 9, 1, 3}));
  expect_error(ErrorCode::kDamaged, {"far outside"}, polygon({1, 1, 5, 5, 1e9, 1}));
  expect_error(ErrorCode::kDamaged, {"nan"}, polygon({1, 1, 5, 5, NAN, 1}));
  expect_error(ErrorCode::kDamaged, {"inf"}, polygon({1, 1, 5, 5, INFINITY, 1}));
  expect_error(ErrorCode::kDamaged, {"boundary"}, polygon({-1e8, 1, 1e8, 1, 1, 5}));
  expect_error(ErrorCode::kDamaged, {"no polygon"}, [] { mask_from_polygons({}, 20, 30); });
}

// Evaluations.

const json& evaluation_goldens() {
  static const json goldens = json::parse(read_text(golden_path("coco/evaluations.json")));
  return goldens;
}

struct Evaluated {
  CocoDataset truth;
  CocoResults results;
  CocoEvaluation evaluation;
};

Evaluated evaluate(const TemporaryFolder& folder, const json& truth, const json& results, CocoType type,
                   int threads = 1) {
  folder.write("truth.json", truth.dump());
  folder.write("results.json", results.dump());
  const bool masks = type == CocoType::kMasks;
  Evaluated evaluated;
  ThreadPool pool(threads);
  auto [dataset, found] =
      read_coco_files(folder / "truth.json", masks ? CocoFields::for_masks() : CocoFields::for_boxes(),
                      folder / "results.json", masks, pool);
  evaluated.truth = std::move(dataset);
  evaluated.results = std::move(found);
  evaluated.evaluation = evaluate_coco(evaluated.truth, evaluated.results.detections, type, pool);
  return evaluated;
}

TEST(CocoEvaluation, GridsAreThoseOfNumPy) {
  const json& goldens = evaluation_goldens();
  const auto thresholds = coco_thresholds();
  const auto recalls = coco_recalls();
  EXPECT_EQ(std::vector(thresholds.begin(), thresholds.end()), goldens["thresholds"].get<std::vector<double>>());
  EXPECT_EQ(std::vector(recalls.begin(), recalls.end()), goldens["recalls"].get<std::vector<double>>());
}

// tools/goldens/coco.py tells which wrong evaluation each case finds out.
TEST(CocoEvaluation, IsThatOfPycocotoolsToTheBit) {
  const TemporaryFolder folder;
  int evaluations = 0;
  for (const json& golden : evaluation_goldens()["cases"]) {
    for (const auto& [type, expected] : golden["expected"].items()) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(fmt::format("{}, {}, {} threads", golden["name"].get<std::string>(), type, threads));
        const CocoEvaluation evaluation =
            evaluate(folder, golden["truth"], golden["results"], coco_type_named(type), threads).evaluation;
        EXPECT_EQ(hash_of(bytes_of_doubles(evaluation.precision)), expected["precision"]);
        EXPECT_EQ(hash_of(bytes_of_doubles(evaluation.recall)), expected["recall"]);
        for (std::size_t i = 0; i < kCocoStats; ++i) {
          EXPECT_EQ(evaluation.stats[i], expected["stats"][i].get<double>()) << coco_stat_names()[i];
        }
        std::string printed;
        for (const json& line : expected["printed"]) printed += line.get<std::string>() + "\n";
        EXPECT_EQ(coco_summary(evaluation.stats), printed);
        ++evaluations;
      }
    }
  }
  EXPECT_GE(evaluations, 40);
}

TEST(CocoEvaluation, AnEmptyListOfResultsIsNoError) {
  const TemporaryFolder folder;
  for (const json& golden : evaluation_goldens()["cases"]) {
    if (golden["name"] != "no detections") continue;
    const Evaluated evaluated = evaluate(folder, golden["truth"], json::array(), CocoType::kBoxes);
    EXPECT_EQ(evaluated.evaluation.stats[0], 0.0);
    EXPECT_EQ(evaluated.evaluation.stats[8], 0.0);
    return;
  }
  FAIL();
}

TEST(CocoEvaluation, OneCategoryAloneHasTheFiguresOfItsRow) {
  const TemporaryFolder folder;
  const json& goldens = evaluation_goldens();
  const json& golden = goldens["cases"][0];
  const CocoEvaluation all = evaluate(folder, golden["truth"], golden["results"], CocoType::kBoxes).evaluation;
  double sum = 0.0;
  ASSERT_EQ(all.categories, 4u);
  for (std::size_t k = 0; k < all.categories; ++k) {
    json alone = golden["truth"];
    std::vector<int> ids;
    for (const json& category : alone["categories"]) ids.push_back(category["id"]);
    std::ranges::sort(ids);
    alone["categories"] = json::array({{{"id", ids[k]}, {"name", "it"}}});
    const Evaluated one = evaluate(folder, alone, golden["results"], CocoType::kBoxes);
    EXPECT_EQ(one.evaluation.stats, all.stats_of(k));
    EXPECT_EQ(one.evaluation.counts[0].objects, all.counts[k].objects);
    sum += all.stats_of(k)[0];
  }
  EXPECT_NEAR(sum / 4, all.stats[0], 1e-12);
}

TEST(CocoEvaluation, TheId0IsWarnedOf) {
  const TemporaryFolder folder;
  for (const json& golden : evaluation_goldens()["cases"]) {
    const Evaluated evaluated =
        evaluate(folder, golden["truth"], golden["results"], coco_type_named(golden["expected"].items().begin().key()));
    EXPECT_THAT(evaluated.evaluation.warnings, SizeIs(golden["name"] == "ids from 0" ? 1 : 0));
  }
}

TEST(CocoEvaluation, DetectionsThatAreNoneAreRefused) {
  CocoDataset truth;
  truth.categories = {{.id = 1, .name = "cat", .supercategory = ""}};
  truth.pictures.resize(1);
  ThreadPool pool(1);
  CocoDetection detection;
  const auto run = [&] { evaluate_coco(truth, std::vector{detection}, CocoType::kBoxes, pool); };
  EXPECT_NO_THROW(run());
  detection.score = NAN;
  expect_error(ErrorCode::kInvalidArgument, {"detection 0", "nan"}, run);
  detection.score = 0.5;
  detection.category = 1;
  expect_error(ErrorCode::kInvalidArgument, {"category 1 of 1"}, run);
  detection.category = 0;
  detection.picture = -1;
  expect_error(ErrorCode::kInvalidArgument, {"picture -1 of 1"}, run);
}

// Files.

constexpr std::string_view kTruth = R"({"info": {"year": [2017, {"a": null}]},
  "annotations": [
    {"id": 7, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3.5, 4], "area": 12.25, "iscrowd": 0, "other": [[{}]],
     "segmentation": [[1, 1, 9, 1, 9, 9], [12, 1, 15, 1, 15.5, 4]]},
    {"id": 4, "image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 3, "iscrowd": 1,
     "segmentation": {"counts": [5, 3, 592], "size": [20, 30]}},
    {"id": 6, "image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 600,
     "segmentation": {"size": [20, 30], "counts": "0hb0"}}
  ],
  "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 1}],
  "images": [{"id": 5, "file_name": "b.png", "width": 30, "height": 20, "flickr_url": "x"},
             {"id": 2.0, "file_name": "a.png", "width": 30, "height": 20}]})";
constexpr std::string_view kResults = R"([
  {"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5},
  {"image_id": 2, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 1, "id": "text"}
])";
constexpr CocoFields kEverything = {
    .file_names = true, .sizes = true, .boxes = true, .areas = true, .segmentations = true};

// The text with one piece of it replaced, which must be there.
std::string with(std::string_view text, std::string_view old, std::string_view replacement) {
  std::string changed(text);
  const std::size_t at = changed.find(old);
  if (at == std::string::npos) throw std::logic_error(fmt::format("'{}' is not there", old));
  return changed.replace(at, old.size(), replacement);
}

class CocoFile : public testing::Test {
 protected:
  CocoDataset read(std::string_view text, const CocoFields& required = kEverything) const {
    folder_.write("truth.json", text);
    return read_coco_dataset(folder_ / "truth.json", required);
  }
  CocoResults read_results(std::string_view text, bool masks = false) const {
    const CocoDataset truth = read(kTruth);
    folder_.write("results.json", text);
    return read_coco_results(folder_ / "results.json", truth, masks);
  }
  void expect_refused(std::string_view text, std::initializer_list<std::string> texts,
                      ErrorCode code = ErrorCode::kDamaged) const {
    expect_error(code, {"truth.json"}, [&] { read(text); });
    expect_error(code, texts, [&] { read(text); });
  }
  void expect_results_refused(std::string_view text, std::initializer_list<std::string> texts,
                              ErrorCode code = ErrorCode::kDamaged, bool masks = false) const {
    expect_error(code, {"results.json"}, [&] { read_results(text, masks); });
    expect_error(code, texts, [&] { read_results(text, masks); });
  }
  // One warning that has these texts.
  static void expect_warning(const std::vector<CocoWarning>& warnings, int count, const std::string& text) {
    ASSERT_THAT(warnings, SizeIs(1));
    EXPECT_EQ(warnings[0].count, count);
    EXPECT_THAT(warnings[0].text, HasSubstr(text));
  }

  TemporaryFolder folder_;
};

TEST_F(CocoFile, AnnotationsAreByPictureWhateverTheOrder) {
  const CocoDataset truth = read(kTruth);
  ASSERT_THAT(truth.categories, SizeIs(2));
  EXPECT_EQ(truth.categories[0].name, "1");
  EXPECT_EQ(truth.categories[1].name, "cat");
  EXPECT_EQ(truth.categories[1].supercategory, "animal");
  ASSERT_THAT(truth.pictures, SizeIs(2));
  EXPECT_EQ(truth.pictures[0].file_name, "a.png");
  EXPECT_EQ(truth.pictures[1].width, 30);
  EXPECT_EQ(truth.pictures[1].height, 20);
  EXPECT_EQ(truth.find_picture(5), 1);
  EXPECT_EQ(truth.find_picture(3), -1);
  EXPECT_EQ(truth.find_category(3), 1);
  EXPECT_THAT(truth.warnings, IsEmpty());

  ASSERT_THAT(truth.annotations_of(truth.pictures[0]), SizeIs(1));
  EXPECT_TRUE(truth.annotations_of(truth.pictures[0])[0].crowd);
  const auto objects = truth.annotations_of(truth.pictures[1]);
  ASSERT_THAT(objects, SizeIs(2));
  EXPECT_EQ(objects[0].id, 7);
  EXPECT_EQ(objects[0].category, 1);
  EXPECT_EQ(objects[0].box, (BoundingBox{1, 2, 3.5, 4}));
  EXPECT_EQ(objects[0].area, 12.25);
  EXPECT_FALSE(objects[0].crowd);
  EXPECT_EQ(objects[1].id, 6);
  EXPECT_FALSE(objects[1].crowd) << "it does not say so";

  const CocoPolygons polygons = {{1, 1, 9, 1, 9, 9}, {12, 1, 15, 1, 15.5, 4}};
  EXPECT_EQ(mask_of(objects[0].segmentation, 20, 30), mask_from_polygons(polygons, 20, 30));
  EXPECT_EQ(mask_area(mask_of(objects[1].segmentation, 20, 30)), 600u);
  EXPECT_EQ(mask_of(truth.annotations_of(truth.pictures[0])[0].segmentation, 20, 30).counts,
            (std::vector<std::uint32_t>{5, 3, 592}));
  expect_error(ErrorCode::kMismatch, {"30 x 20", "20 x 30"}, [&] { mask_of(objects[1].segmentation, 30, 20); });
  expect_error(ErrorCode::kInvalidArgument, {"no outline"}, [] { mask_of({}, 30, 20); });
}

TEST_F(CocoFile, WhatIsNotAskedForMayBeMissing) {
  const std::string bare = R"({"images": [{"id": 1}], "categories": [{"id": 1}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, "no"]]}]})";
  EXPECT_THAT(read(bare, {}).annotations, SizeIs(1));
  EXPECT_THAT(read(bare, {}).warnings, IsEmpty());
  const auto expect_missing = [&](const CocoFields& required, const std::string& field) {
    expect_error(ErrorCode::kDamaged, {"truth.json", "[0] (id 1)", "has no '" + field + "'"},
                 [&] { read(bare, required); });
  };
  expect_missing({.file_names = true}, "file_name");
  expect_missing({.sizes = true}, "width");
  expect_missing({.boxes = true}, "bbox");
  expect_missing({.areas = true}, "area");
  expect_error(ErrorCode::kDamaged, {"annotations[0] (id 1)", "'segmentation'", "'no'"},
               [&] { read(bare, {.segmentations = true}); });
}

TEST_F(CocoFile, APictureWithoutAnnotationsIsThere) {
  const CocoDataset truth = read(R"({"images": [{"id": 1}], "categories": []})", {});
  EXPECT_THAT(truth.annotations_of(truth.pictures[0]), IsEmpty());
  expect_warning(truth.warnings, 1, "no 'annotations'");
}

TEST_F(CocoFile, WhatIsNoJsonIsRefusedWithItsPlace) {
  expect_refused("", {"no JSON at byte 1"});
  expect_refused("{", {"no JSON at byte 2"});
  expect_refused("17", {"it is 17"});
  expect_refused("[]", {"it is a list", "ground truth"});
  expect_refused("{}", {"no 'images'"});
  expect_refused(R"({"images": [], "annotations": []})", {"no 'categories'"});
  expect_refused(with(kTruth, "12.25", "NaN"), {"annotations[0] (id 7)", "'area'", "NaN and Infinity"});
  expect_refused(with(kTruth, "3.5", "-Infinity"), {"annotations[0] (id 7)", "'bbox'", "NaN and Infinity"});
  expect_refused(with(kTruth, "12.25", "1e999"), {"annotations[0] (id 7)", "'area'", "1e999"});
  expect_refused(with(kTruth, "\"cat\"", "\"\xff\""), {"categories[0] (id 3)", "'name'"});
  for (std::size_t size = 0; size < kTruth.size(); size += 7)
    expect_refused(kTruth.substr(0, size), {"no JSON at byte"});
  expect_refused(std::string(100'000, '['), {"it is a list"});
  expect_refused(R"({"info": )" + std::string(100'000, '['), {"no JSON at byte"});
  expect_error(ErrorCode::kNotFound, {"nowhere.json"}, [&] { read_coco_dataset(folder_ / "nowhere.json", {}); });
}

TEST_F(CocoFile, FieldsOfAnotherTypeAreRefused) {
  const auto refuse = [&](std::string_view old, std::string_view replacement,
                          std::initializer_list<std::string> texts) {
    expect_refused(with(kTruth, old, replacement), texts);
  };
  refuse("\"id\": 7", "\"id\": \"7\"", {"annotations[0]", "'id'", "'7'", "must be an integer"});
  refuse("\"id\": 7", "\"id\": 7.5", {"annotations[0]", "'id'", "7.5"});
  refuse("\"id\": 7", "\"id\": 18446744073709551615", {"annotations[0]", "'id'"});
  refuse("\"id\": 7", "\"id\": null", {"annotations[0]", "'id'", "null"});
  refuse("\"id\": 7, ", "", {"annotations[0]", "has no 'id'"});
  refuse("\"image_id\": 5, ", "", {"annotations[0] (id 7)", "has no 'image_id'"});
  refuse("\"category_id\": 3, ", "", {"annotations[0] (id 7)", "has no 'category_id'"});
  refuse("\"area\": 12.25", "\"area\": [12.25]", {"'area'", "a list", "must be a number"});
  refuse("\"iscrowd\": 0", "\"iscrowd\": \"no\"", {"'iscrowd'", "'no'", "0 or 1"});
  refuse("[1, 2, 3.5, 4]", "[1, 2, 3.5]", {"'bbox'", "3 numbers"});
  refuse("[1, 2, 3.5, 4]", "[1, 2, 3.5, 4, 5, 6]", {"'bbox'", "numbers", "4"});
  refuse("[1, 2, 3.5, 4]", "[1, 2, [3.5], 4]", {"'bbox'", "a list"});
  refuse("[1, 2, 3.5, 4]", "\"1 2 3 4\"", {"'bbox'", "4 numbers"});
  refuse("[1, 2, 3.5, 4]", "[]", {"has no 'bbox'"});
  refuse("\"a.png\"", "5", {"images[1] (id 2)", "'file_name'", "must be text"});
  refuse("\"categories\": [", "\"categories\": {}, \"images\": [", {"'categories' is an object"});
  refuse("\"images\": [", "\"images\": [], \"images\": [", {"'images' stands twice"});
  refuse("{\"id\": 1}", "1", {"categories[1]", "must be an object"});
  refuse("{\"id\": 1}", "[1]", {"categories[1]", "must be an object"});
}

TEST_F(CocoFile, SizesOfPicturesArePositive) {
  for (const std::string size : {"0", "-30", "99999999999", "30.5"}) {
    expect_refused(with(kTruth, "\"width\": 30", "\"width\": " + size), {"images[0] (id 5)", "width", size});
  }
}

TEST_F(CocoFile, IdsThatStandTwiceAreRefused) {
  expect_refused(with(kTruth, "\"id\": 7", "\"id\": 6"), {"two annotations", "6"});
  expect_refused(with(kTruth, "{\"id\": 1}", "{\"id\": 3}"), {"two categories", "3"});
  expect_refused(with(kTruth, "\"id\": 2.0", "\"id\": 5"), {"two pictures", "5"});
}

TEST_F(CocoFile, OutlinesThatAreNoneAreRefused) {
  const auto refuse = [&](std::string_view old, std::string_view replacement, std::initializer_list<std::string> texts,
                          ErrorCode code = ErrorCode::kDamaged) {
    expect_refused(with(kTruth, old, replacement), texts, code);
  };
  refuse("[1, 1, 9, 1, 9, 9]", "[1, 1, 9, 1]", {"annotation 7", "'segmentation'", "2 points"});
  refuse("[1, 1, 9, 1, 9, 9]", "[1, 1, 9, 1, 9]", {"annotation 7", "5 numbers"});
  refuse("[1, 1, 9, 1, 9, 9]", "[1, 1, 9, 1, 9, 1e10]", {"annotation 7", "far outside"});
  refuse("[1, 1, 9, 1, 9, 9]", "1, 1, 9, 1, 9, 9", {"annotations[0] (id 7)", "list of polygons"});
  refuse("[[1, 1, 9, 1, 9, 9], [12, 1, 15, 1, 15.5, 4]]", "[]", {"annotations[0] (id 7)", "has no 'segmentation'"});
  refuse("[[1, 1, 9, 1, 9, 9], [12, 1, 15, 1, 15.5, 4]]", "\"x\"", {"annotations[0] (id 7)", "'segmentation'", "'x'"});
  refuse("[5, 3, 592]", "[5, 3, 593]", {"annotations[1] (id 4)", "601", "600"});
  refuse("[5, 3, 592]", "[5, -3, 598]", {"annotations[1] (id 4)", "-3"});
  refuse("[5, 3, 592]", "[5, 3.5, 592]", {"annotations[1] (id 4)", "3.5"});
  refuse("[5, 3, 592]", "[5, 99999999999]", {"annotations[1] (id 4)", "99999999999"});
  refuse("[5, 3, 592]", "[5, \"3\", 592]", {"annotations[1] (id 4)", "'3'"});
  refuse("\"0hb0\"", "\"0hb\"", {"annotations[2] (id 6)", "cut off"});
  refuse("\"0hb0\"", "\"0gb0\"", {"annotations[2] (id 6)", "599"});
  refuse("\"0hb0\"", "7", {"annotations[2] (id 6)", "'segmentation'", "7"});
  refuse(", \"counts\": \"0hb0\"", "", {"annotations[2] (id 6)", "no 'counts'"});
  refuse("\"size\": [20, 30], ", "", {"annotations[2] (id 6)", "no 'size'"});
  refuse("\"size\": [20, 30], ", "\"size\": [20], ", {"annotations[2] (id 6)", "no 'size'"});
  refuse("\"size\": [20, 30], ", "\"size\": [20, 30, 1], ", {"annotations[2] (id 6)", "'size'"});
  refuse("\"size\": [20, 30], ", "\"size\": [-20, -30], ", {"annotations[2] (id 6)", "-20"});
  refuse("\"size\": [20, 30], ", "\"size\": [2000000000, 2000000000], ", {"annotations[2] (id 6)", "at most"});
  refuse("\"size\": [20, 30], ", "\"size\": [30, 20], ", {"annotation 6", "20 x 30", "30 x 20"}, ErrorCode::kMismatch);
}

TEST_F(CocoFile, WhatPycocotoolsGoesOnWithIsCounted) {
  const CocoDataset lost =
      read(with(with(kTruth, "\"image_id\": 5", "\"image_id\": 9"), "\"image_id\": 5", "\"image_id\": 8"));
  expect_warning(lost.warnings, 2, "annotation 7 is of picture 9");
  EXPECT_THAT(lost.annotations, SizeIs(1));
  EXPECT_EQ(describe(lost.warnings[0], "x.json"),
            "'x.json': annotation 7 is of picture 9, which the file does not have: left out (and 1 more such)");
  const CocoDataset unknown = read(with(kTruth, "\"category_id\": 3", "\"category_id\": 2"));
  expect_warning(unknown.warnings, 1, "annotation 7 is of category 2");
  EXPECT_THAT(unknown.annotations_of(unknown.pictures[1]), SizeIs(1));
  expect_warning(read(with(kTruth, "[1, 2, 3.5, 4]", "[1, 2, 0, 4]")).warnings, 1, "0 x 4");
  expect_warning(read(with(kTruth, "[1, 2, 3.5, 4]", "[1, 2, 3.5, -4]")).warnings, 1, "3.5 x -4");
  expect_warning(read(with(kTruth, "[1, 2, 3.5, 4]", "[1, 20, 3.5, 4]")).warnings, 1, "outside");
  EXPECT_THAT(read(with(kTruth, "[1, 2, 3.5, 4]", "[-1, 19, 300, 4]")).warnings, IsEmpty()) << "partly outside";
}

TEST_F(CocoFile, ResultsOfBoxes) {
  const CocoResults results = read_results(kResults);
  ASSERT_THAT(results.detections, SizeIs(2));
  EXPECT_THAT(results.warnings, IsEmpty());
  EXPECT_EQ(results.detections[0].picture, 1);
  EXPECT_EQ(results.detections[0].category, 1);
  EXPECT_EQ(results.detections[1].picture, 0);
  EXPECT_EQ(results.detections[1].box, (BoundingBox{1.5, 2, 3, 4}));
  EXPECT_EQ(results.detections[1].area, 12.0);
  EXPECT_EQ(results.detections[1].score, 1.0);
  EXPECT_THAT(read_results("[]").detections, IsEmpty());
}

// As loadRes() does it, whatever is asked for later.
TEST_F(CocoFile, TheFirstResultDecidesWhatAreasAreOf) {
  const std::string mask = R"("segmentation": {"size": [20, 30], "counts": [5, 3, 592]})";
  const std::string box = R"("bbox": [1, 2, 3, 4])";
  const auto entry = [](const std::string& what) {
    return R"({"image_id": 5, "category_id": 3, "score": 0.5, )" + what + "}";
  };
  const auto area_of = [&](const std::string& what, bool masks) {
    return read_results("[" + entry(what) + "]", masks).detections.front().area;
  };
  EXPECT_EQ(area_of(mask + ", " + box, true), 12.0);
  EXPECT_EQ(area_of(box + ", " + mask, false), 12.0);
  EXPECT_EQ(area_of(mask, false), 3.0);
  EXPECT_EQ(area_of(mask + R"(, "bbox": [])", true), 3.0);
  const CocoResults masks = read_results("[" + entry(mask) + ", " + entry(mask + ", " + box) + "]", true);
  EXPECT_EQ(masks.detections[0].box, (BoundingBox{0, 5, 1, 3}));
  EXPECT_EQ(masks.detections[1].box, (BoundingBox{1, 2, 3, 4}));
  EXPECT_EQ(masks.detections[1].area, 3.0);
  expect_results_refused("[" + entry(box) + ", " + entry(mask) + "]", {"results[1]", "'bbox'"});
  expect_results_refused("[" + entry(mask) + ", " + entry(box) + "]", {"results[1]", "'segmentation'"});
  expect_results_refused("[" + entry(R"("caption": "a cat")") + "]", {"results[0]", "'bbox'", "'segmentation'"});
}

TEST_F(CocoFile, BadResultsAreRefused) {
  const auto refuse = [&](std::string_view old, std::string_view replacement, std::initializer_list<std::string> texts,
                          ErrorCode code = ErrorCode::kDamaged) {
    expect_results_refused(with(kResults, old, replacement), texts, code);
  };
  refuse("\"image_id\": 2", "\"image_id\": 3", {"results[1]", "picture 3", "truth.json"}, ErrorCode::kMismatch);
  refuse("\"image_id\": 2, ", "", {"results[1]", "has no 'image_id'"});
  refuse("\"image_id\": 2, ", "\"image_id\": \"2\", ", {"results[1]", "'image_id'", "must be an integer"});
  refuse("\"category_id\": 1, ", "", {"results[1]", "has no 'category_id'"});
  refuse(", \"score\": 1", "", {"results[1]", "has no 'score'"});
  refuse("\"score\": 1", "\"score\": NaN", {"results[1]", "'score'", "NaN"});
  refuse("\"score\": 1", "\"score\": \"high\"", {"results[1]", "'score'", "'high'"});
  refuse("\"bbox\": [1.5, 2, 3, 4], ", "", {"results[1]", "'bbox'"});
  refuse("[1.5, 2, 3, 4]", "[1.5, 2, 3]", {"results[1]", "'bbox'", "3 numbers"});
  refuse("\"score\": 0.5}", "\"score\": 0.5}, 3", {"results[1]", "must be an object"});
  expect_results_refused(kTruth, {"results are a list"});
  expect_results_refused("[{}]", {"results[0]", "has no 'image_id'"});
  const auto mask = [](const std::string& segmentation) {
    return R"([{"image_id": 5, "category_id": 3, "score": 0.5, "segmentation": )" + segmentation + "}]";
  };
  expect_results_refused(mask(R"({"size": [30, 20], "counts": [600]})"), {"results[0]", "30 x 20"},
                         ErrorCode::kMismatch, true);
  expect_results_refused(mask(R"({"size": [20, 30], "counts": [601]})"), {"results[0]", "601"}, ErrorCode::kDamaged,
                         true);
  expect_results_refused(mask("[[1, 1, 2, 2]]"), {"results[0]", "2 points"}, ErrorCode::kDamaged, true);
}

TEST_F(CocoFile, OddResultsAreCounted) {
  const CocoResults unknown = read_results(with(kResults, "\"category_id\": 1", "\"category_id\": 77"));
  expect_warning(unknown.warnings, 1, "results[1] is of category 77");
  EXPECT_THAT(unknown.detections, SizeIs(1));
  expect_warning(read_results(with(kResults, "[1.5, 2, 3, 4]", "[1.5, 2, 0, 4]")).warnings, 1,
                 "results[1] has a box of 0 x 4");
  expect_warning(read_results(with(kResults, "[1.5, 2, 3, 4]", "[-50, 2, 3, 4]")).warnings, 1, "outside");
}

// A polygon that can only be refused once it is drawn names its annotation, too.
TEST_F(CocoFile, OfTwoBadFilesTheGroundTruthIsToldOf) {
  const auto read_both = [this](std::string_view truth, std::string_view results, int threads) {
    folder_.write("truth.json", truth);
    folder_.write("results.json", results);
    ThreadPool pool(threads);
    return read_coco_files(folder_ / "truth.json", kEverything, folder_ / "results.json", /*masks=*/true, pool);
  };
  for (const int threads : {1, 2, 3}) {
    expect_error(ErrorCode::kDamaged, {"truth.json"}, [&] { read_both("{", "[", threads); });
    expect_error(ErrorCode::kDamaged, {"results.json"}, [&] { read_both(kTruth, "[", threads); });
    const CocoFiles good = read_both(kTruth, "[]", threads);
    EXPECT_EQ(good.truth.annotations.size(), read(kTruth).annotations.size());
    EXPECT_THAT(good.results.detections, IsEmpty());
  }
}

TEST_F(CocoFile, WhatCannotBeDrawnIsNamed) {
  const CocoDataset truth = read(with(kTruth, "[1, 1, 9, 1, 9, 9]", "[-1e8, 1, 1e8, 1, 9, 9]"));
  ThreadPool pool(2);
  const std::vector<CocoDetection> detections = {
      {.picture = 1, .category = 1, .box = {1, 2, 3, 4}, .area = 12, .score = 0.5, .segmentation = {}}};
  expect_error(ErrorCode::kDamaged, {"truth.json", "annotation 7", "boundary"},
               [&] { evaluate_coco(truth, detections, CocoType::kMasks, pool); });
}

// Thirty megabytes of text with little in it take little memory.
TEST_F(CocoFile, TheTextIsNotHeld) {
  {
    std::ofstream file(folder_ / "large.json");
    file << R"({"images": [{"id": 1}], "categories": [{"id": 1}], "licenses": [)";
    const std::string filler(1000, 'x');
    for (int i = 0; i < 30'000; ++i) file << (i == 0 ? "" : ",") << R"({"id": 1, "text": ")" << filler << "\"}";
    file << R"(], "annotations": [{"id": 1, "image_id": 1, "category_id": 1}]})";
  }
  reset_peak_memory();
  const auto before = peak_memory();
  EXPECT_THAT(read_coco_dataset(folder_ / "large.json", {}).annotations, SizeIs(1));
  EXPECT_LT(peak_memory() - before, 15'000'000u);
}

}  // namespace
}  // namespace convnext
