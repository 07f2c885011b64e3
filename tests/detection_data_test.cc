// Pictures with objects on their way to a detector: sizes, draws, and that pixels, boxes and masks stay together.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <stdexcept>

#include "detect/coco_pictures.h"
#include "detect/detection_augmentation.h"
#include "io/picture.h"
#include "model/formula.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// mmcv's rescale_size with (1333, 800), by hand.
TEST(DetectorSize, KeepsProportions) {
  EXPECT_EQ(size_within({480, 640}, 800, 1333), (PictureSize{800, 1067}));
  EXPECT_EQ(size_within({640, 480}, 800, 1333), (PictureSize{1067, 800}));
  EXPECT_EQ(size_within({427, 1280}, 800, 1333), (PictureSize{445, 1333}));
  EXPECT_EQ(size_within({800, 1280}, 800, 1333), (PictureSize{800, 1280}));
  EXPECT_EQ(size_within({1, 5000}, 800, 1333), (PictureSize{1, 1333}));
}

TEST(PictureDraws, FollowFromTheKeyAndTheirProbabilities) {
  const DetectionAugmentation augmentation;
  constexpr int kPictures = 4000;
  int flips = 0, crops = 0;
  std::map<int, int> short_sides;
  for (int i = 0; i < kPictures; ++i) {
    const SampleKey key{1, 2, static_cast<std::uint64_t>(i)};
    const PictureDraw draw = draw_picture(augmentation, 640, 480, key);
    EXPECT_EQ(draw, draw_picture(augmentation, 640, 480, key));
    flips += draw.flip ? 1 : 0;
    if (!draw.crop) {
      ++short_sides[draw.size.height];
      EXPECT_EQ(draw.size, size_within({480, 640}, draw.size.height, 1333));
      continue;
    }
    ++crops;
    const auto& [resized, region] = *draw.crop;
    EXPECT_TRUE(resized.height == 400 || resized.height == 500 || resized.height == 600) << resized.height;
    EXPECT_GE(std::min(region.width, region.height), 384);
    EXPECT_LE(std::max(region.width, region.height), 600);
    EXPECT_LE(region.left + region.width, resized.width);
    EXPECT_LE(region.top + region.height, resized.height);
    EXPECT_LE(std::max(draw.size.width, draw.size.height), 1333);
  }
  // Five standard deviations of 4,000 tosses are 158.
  EXPECT_NEAR(flips, kPictures / 2, 158);
  EXPECT_NEAR(crops, kPictures / 2, 158);
  EXPECT_THAT(short_sides, SizeIs(11));
  for (const auto& [side, count] : short_sides) EXPECT_NEAR(count, (kPictures - crops) / 11, 70) << side;
  // A picture smaller than the crop is taken whole.
  DetectionAugmentation always = augmentation;
  always.crop_probability = 1;
  always.crop_short_sides = {100};
  const PictureDraw whole = draw_picture(always, 200, 200, {});
  EXPECT_EQ(whole.crop->region.width, 100);
  EXPECT_EQ(whole.crop->region.left, 0);
  EXPECT_EQ(plain_picture(640, 480, 800, 1333), (PictureDraw{false, std::nullopt, {800, 1067}}));
}

constexpr int kWidth = 160, kHeight = 120;

bool is_bright(const Image& image, int x, int y) {
  return image.pixels[static_cast<std::size_t>(3 * (y * image.width + x))] > 127;
}

// A bright rectangle on black, its box, and its outline as polygons or as pixels.
struct Scene {
  Image image{.width = kWidth, .height = kHeight, .pixels = {}};
  OutlinedObjects objects;
};
Scene scene(int left, int top, int right, int bottom, bool polygons) {
  Scene scene;
  std::vector<std::uint8_t> mask(kWidth * kHeight, 0);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      const bool inside = x >= left && x < right && y >= top && y < bottom;
      mask[static_cast<std::size_t>(y * kWidth + x)] = inside ? 1 : 0;
      scene.image.pixels.insert(scene.image.pixels.end(), 3, inside ? std::uint8_t{255} : std::uint8_t{0});
    }
  }
  const double x1 = left, y1 = top, x2 = right, y2 = bottom;
  scene.objects.boxes = {
      {static_cast<float>(x1), static_cast<float>(y1), static_cast<float>(x2), static_cast<float>(y2)}};
  scene.objects.classes = {7};
  if (polygons) {
    scene.objects.outlines = {CocoPolygons{{x1, y1, x2, y1, x2, y2, x1, y2}}};
  } else {
    scene.objects.outlines = {encode_mask(mask, kHeight, kWidth)};
  }
  return scene;
}

// Whatever is drawn: the box lies around the bright pixels and the mask on them.
class Preparation : public testing::TestWithParam<bool> {};

TEST_P(Preparation, MovesPixelsBoxesAndMasksAlike) {
  DetectionAugmentation augmentation;
  augmentation.short_sides = {60, 90, 131, 200};
  augmentation.long_side = 300;
  augmentation.crop_short_sides = {80, 120, 150};
  augmentation.least_crop = 50;
  augmentation.largest_crop = 110;
  int prepared = 0, mirrored = 0, cut = 0, cut_off = 0;
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    const Scene from = scene(28, 20, 96, 74, GetParam());
    const PictureDraw draw = draw_picture(augmentation, kWidth, kHeight, {3, 4, sample});
    const PreparedPicture ready = prepare(from.image, from.objects, draw);
    SCOPED_TRACE(sample);
    ASSERT_EQ((PictureSize{ready.image.height, ready.image.width}), draw.size);
    if (ready.objects.boxes.empty()) continue;
    ++prepared;
    mirrored += draw.flip ? 1 : 0;
    cut += draw.crop ? 1 : 0;
    const Box& box = ready.objects.boxes.front();
    const std::vector<std::uint8_t>& mask = ready.objects.masks.front();
    ASSERT_EQ(mask.size(), static_cast<std::size_t>(draw.size.width) * static_cast<std::size_t>(draw.size.height));
    EXPECT_EQ(ready.objects.classes.front(), 7);
    cut_off += box.x1 == 0 || box.y1 == 0 ? 1 : 0;
    // Resizing blurs an edge over a few pixels, where an enlargement is at most 4: there nobody can tell.
    constexpr float kBlurred = 4.0f;
    for (int y = 0; y < draw.size.height; ++y) {
      for (int x = 0; x < draw.size.width; ++x) {
        const float middle_x = static_cast<float>(x) + 0.5f, middle_y = static_cast<float>(y) + 0.5f;
        const auto depth = [&](float margin) {
          return middle_x > box.x1 + margin && middle_x < box.x2 - margin && middle_y > box.y1 + margin &&
                 middle_y < box.y2 - margin;
        };
        const bool masked = mask[static_cast<std::size_t>(y * draw.size.width + x)] != 0;
        if (depth(kBlurred)) {
          ASSERT_TRUE(is_bright(ready.image, x, y) && masked) << x << ", " << y;
        }
        if (!depth(-kBlurred)) {
          ASSERT_FALSE(is_bright(ready.image, x, y) || masked) << x << ", " << y;
        }
        // The mask itself is no more than a pixel off, but for masks of pixels, whose pixels are enlarged.
        if (GetParam() && depth(1.0f)) {
          ASSERT_TRUE(masked) << x << ", " << y;
        }
        if (GetParam() && !depth(-1.0f)) {
          ASSERT_FALSE(masked) << x << ", " << y;
        }
      }
    }
  }
  EXPECT_GT(prepared, 40);
  EXPECT_GT(mirrored, 10);
  EXPECT_GT(cut, 10);
  EXPECT_GT(cut_off, 3);
}

INSTANTIATE_TEST_SUITE_P(Outlines, Preparation, testing::Bool(),
                         [](const auto& info) { return info.param ? "Polygons" : "Pixels"; });

TEST(PreparationAlone, MirrorsAndScalesExactly) {
  const Scene from = scene(28, 20, 96, 74, /*polygons=*/true);
  const PreparedPicture twice = prepare(from.image, from.objects, {true, std::nullopt, {2 * kHeight, 2 * kWidth}});
  EXPECT_EQ(twice.objects.boxes.front(), (Box{2 * (kWidth - 96), 40, 2 * (kWidth - 28), 148}));
  // What the cut leaves of the box, twice as large.
  const PictureDraw::Crop crop{.resized = {kHeight, kWidth},
                               .region = {.left = 50, .top = 30, .width = 60, .height = 40}};
  const PreparedPicture part = prepare(from.image, from.objects, {false, crop, {80, 120}});
  EXPECT_EQ(part.objects.boxes.front(), (Box{0, 0, 92, 80}));
  // Nothing is left.
  const PictureDraw::Crop beside{.resized = {kHeight, kWidth},
                                 .region = {.left = 100, .top = 0, .width = 60, .height = 60}};
  EXPECT_THAT(prepare(from.image, from.objects, {false, beside, {60, 60}}).objects.boxes, IsEmpty());
  expect_error(ErrorCode::kInvalidArgument, {"0x5"}, [&] {
    prepare(from.image, from.objects, {false, std::nullopt, {5, 0}});
  });
}

TEST(ObjectsToLearn, AreThoseThatMmdetectionTakes) {
  const auto annotation = [](BoundingBox box, bool crowd) {
    CocoAnnotation one;
    one.box = box;
    one.category = 2;
    one.crowd = crowd;
    one.segmentation = CocoPolygons{{1, 1, 9, 1, 9, 9}};
    return one;
  };
  const std::vector<CocoAnnotation> annotations = {
      annotation({10, 10, 20, 20}, false),        annotation({10, 10, 20, 20}, true),
      annotation({10, 10, 0.5, 20}, false),       annotation({-5, -5, 10, 10}, false),
      annotation({200, 5, 10, 10}, false),        annotation({5, 5, 20, -3}, false),
      annotation({5, std::nan(""), 20, 3}, false)};
  std::int64_t dropped = 0;
  const OutlinedObjects objects = objects_to_learn(annotations, 100, 150, dropped);
  EXPECT_THAT(objects.boxes, ElementsAre(Box{10, 10, 30, 30}, Box{-5, -5, 5, 5}));
  EXPECT_THAT(objects.classes, ElementsAre(2, 2));
  EXPECT_EQ(dropped, 5);
}

constexpr std::string_view kObjects = R"({"images":[
      {"id":9,"file_name":"third.png","width":160,"height":121},
      {"id":4,"file_name":"first.png","width":160,"height":120},
      {"id":5,"file_name":"second.png","width":160,"height":120},
      {"id":6,"file_name":"nowhere.png","width":160,"height":120}],
     "categories":[{"id":7,"name":"disc"},{"id":3,"name":"box"}],
     "annotations":[
      {"id":1,"image_id":4,"category_id":7,"bbox":[10,20,30,40],"area":1200,"iscrowd":0,
       "segmentation":[[10,20,40,20,40,60,10,60]]},
      {"id":2,"image_id":4,"category_id":3,"bbox":[1,2,30,40],"area":1200,"iscrowd":1,
       "segmentation":{"size":[120,160],"counts":[0,240,18960]}},
      {"id":3,"image_id":9,"category_id":3,"bbox":[1,2,30,40],"area":1200,"iscrowd":0,
       "segmentation":[[1,2,31,2,31,42]]}]})";

class CocoFolder : public testing::Test {
 protected:
  // Three pictures: one with an object and a crowd, one without annotations, one whose size is not what the file says.
  CocoFolder() {
    for (const char* name : {"first.png", "second.png", "third.png"}) {
      write_png(folder_ / name, formula_picture(kWidth, kHeight, 1));
    }
    write(std::string(kObjects));
  }
  void write(const std::string& text) const { std::ofstream(folder_ / "objects.json") << text; }
  // kObjects with one piece of it replaced, which must be there.
  void write_with(std::string_view old, std::string_view replacement) const {
    std::string text(kObjects);
    const std::size_t at = text.find(old);
    if (at == std::string::npos) throw std::logic_error("'" + std::string(old) + "' is not there");
    write(text.replace(at, old.size(), replacement));
  }
  CocoPictures open(const CocoPicturesOptions& options = {}) const {
    return CocoPictures::open(folder_ / "objects.json", folder_.path(), options);
  }

  TemporaryFolder folder_;
};

TEST_F(CocoFolder, GivesPicturesWithTheirObjects) {
  const CocoPictures pictures = open();
  ASSERT_EQ(pictures.size(), 4u);
  EXPECT_EQ(pictures.picture(0).file_name, "first.png");
  EXPECT_THAT(pictures.objects(0).boxes, ElementsAre(Box{10, 20, 40, 60}));
  EXPECT_EQ(pictures.categories()[static_cast<std::size_t>(pictures.objects(0).classes[0])].name, "disc");
  EXPECT_THAT(pictures.objects(1).boxes, IsEmpty());
  const PreparedPicture ready =
      prepare(pictures.image(0), pictures.objects(0), {false, std::nullopt, {kHeight, kWidth}});
  EXPECT_EQ(std::ranges::count(ready.objects.masks.front(), 1), 30 * 40);
  ASSERT_THAT(pictures.warnings(), SizeIs(1));
  EXPECT_EQ(pictures.warnings()[0].count, 1);
  EXPECT_THAT(pictures.warnings()[0].text, testing::HasSubstr("crowd"));
}

TEST_F(CocoFolder, LeavesOutWhatHasNothingToLearn) {
  const CocoPictures pictures = open({.only_with_objects = true});
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures.picture(1).file_name, "third.png");
  EXPECT_EQ(pictures.warnings().back().count, 2);
}

TEST_F(CocoFolder, SaysWhatIsWrong) {
  const CocoPictures pictures = open();
  expect_error(ErrorCode::kMismatch, {"third.png", "160x120", "160x121"}, [&] { pictures.image(3); });
  expect_error(ErrorCode::kNotFound, {"nowhere.png"}, [&] { pictures.image(2); });
  expect_error(ErrorCode::kNotFound, {"no folder"},
               [&] { CocoPictures::open(folder_ / "objects.json", folder_ / "none"); });
  write(R"({"images":[{"id":4,"file_name":"first.png","width":160,"height":120}],"categories":[],"annotations":[]})");
  expect_error(ErrorCode::kNotFound, {"objects to learn"}, [&] { open({.only_with_objects = true}); });
  write("{");
  expect_error(ErrorCode::kDamaged, {"objects.json"}, [&] { open(); });
}

// Annotations from anywhere do not choose which files of this machine are opened.
TEST_F(CocoFolder, RefusesNamesThatLeadOutOfIt) {
  for (const char* name : {"../second.png", "/etc/second.png", "a/../../second.png", ".."}) {
    write_with("second.png", name);
    expect_error(ErrorCode::kDamaged, {"picture 5", "objects.json", "leads out of the folder", name}, [&] { open(); });
  }
  for (const char* name : {"a/../second.png", "./second.png", "..second.png", "a..b/../second.png"}) {
    write_with("second.png", name);
    EXPECT_EQ(open().size(), 4u) << name;
  }
}

TEST_F(CocoFolder, CountsThePicturesThatAreNotThere) {
  const auto missing = open().missing();
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->count, 1);
  EXPECT_THAT(missing->text, testing::HasSubstr("nowhere.png'"));
  write_with("nowhere.png", "first.png");
  EXPECT_FALSE(open().missing());
}

TEST_F(CocoFolder, RefusesBadAnnotationsWithTheirPlace) {
  const auto refused = [this](std::string_view old, std::string_view replacement,
                              std::initializer_list<std::string> texts, ErrorCode code = ErrorCode::kDamaged) {
    write_with(old, replacement);
    expect_error(code, texts, [&] { open(); });
    expect_error(code, {"objects.json"}, [&] { open(); });
  };
  refused("[10,20,30,40]", "[10,NaN,30,40]", {"annotations[0] (id 1)", "'bbox'", "NaN"});
  refused("[10,20,30,40]", "[10,20,1e999,40]", {"annotations[0] (id 1)", "'bbox'", "1e999"});
  refused("[10,20,30,40]", "[10,20,30]", {"annotations[0] (id 1)", "'bbox'", "3 numbers"});
  refused("[10,20,40,20,40,60,10,60]", "[10,20,40,20]", {"annotation 1", "2 points"});
  refused("[10,20,40,20,40,60,10,60]", "", {"annotations[0] (id 1)", "no 'segmentation'"});
  refused("[0,240,18960]", "[0,240,18961]", {"annotations[1] (id 2)", "19201"});
  refused("[120,160]", "[160,120]", {"annotation 2", "120 x 160"}, ErrorCode::kMismatch);
  refused("\"height\":120", "\"height\":-120", {"images[1] (id 4)", "height"});
  refused("\"id\":2", "\"id\":1", {"two annotations"});
  refused("\"id\":5", "\"id\":4", {"two pictures"});
  refused("\"id\":7", "\"id\":3", {"two categories"});
  refused(",\"bbox\":[10,20,30,40]", "", {"annotations[0] (id 1)", "'bbox'"});
  refused("\"file_name\":\"second.png\",", "", {"(id 5)", "'file_name'"});
}

TEST_F(CocoFolder, CountsOddAnnotationsAndGoesOn) {
  const auto counted = [this](std::string_view old, std::string_view replacement, const std::string& text) {
    SCOPED_TRACE(text);
    write_with(old, replacement);
    const CocoPictures pictures = open();
    ASSERT_EQ(pictures.size(), 4u);
    EXPECT_THAT(pictures.objects(0).boxes, IsEmpty());
    std::string warnings;
    for (const CocoWarning& warning : pictures.warnings()) warnings += warning.text + "\n";
    EXPECT_THAT(warnings, testing::HasSubstr(text));
    // What is left can be prepared.
    EXPECT_THAT(prepare(pictures.image(0), pictures.objects(0), plain_picture(kWidth, kHeight, 60, 80)).objects.boxes,
                IsEmpty());
  };
  counted("[10,20,30,40]", "[500,20,30,40]", "outside");
  counted("[10,20,30,40]", "[10,20,0,40]", "0 x 40");
  counted("[10,20,30,40]", "[10,20,30,-40]", "30 x -40");
  counted("\"image_id\":4", "\"image_id\":44", "annotation 1 is of picture 44");
  counted("\"category_id\":7", "\"category_id\":70", "annotation 1 is of category 70");
}

TEST(PreparationAlone, RefusesWhatIsNotOfThePicture) {
  Scene of_pixels = scene(28, 20, 96, 74, /*polygons=*/false);
  const PictureDraw whole{false, std::nullopt, {kHeight, kWidth}};
  of_pixels.objects.outlines = {encode_mask(std::vector<std::uint8_t>(20 * 30, 1), 20, 30)};
  expect_error(ErrorCode::kMismatch, {"30 x 20", "160 x 120"},
               [&] { prepare(of_pixels.image, of_pixels.objects, whole); });
  Scene of_polygons = scene(28, 20, 96, 74, /*polygons=*/true);
  of_polygons.objects.outlines = {CocoPolygons{{1, 1, 9, 1}}};
  expect_error(ErrorCode::kDamaged, {"2 points"}, [&] { prepare(of_polygons.image, of_polygons.objects, whole); });
  of_polygons.objects.outlines = {CocoSegmentation{}};
  expect_error(ErrorCode::kInvalidArgument, {"no outline"},
               [&] { prepare(of_polygons.image, of_polygons.objects, whole); });
  const PictureDraw::Crop beyond{.resized = {kHeight, kWidth},
                                 .region = {.left = 120, .top = 0, .width = 60, .height = 60}};
  expect_error(ErrorCode::kInvalidArgument, {"60"}, [&] { prepare(of_pixels.image, {}, {false, beyond, {60, 60}}); });
  // A box that lies outside, or around the whole picture, is no reason to stop.
  Scene outside = scene(28, 20, 96, 74, /*polygons=*/true);
  outside.objects.boxes = {Box{500, 500, 600, 600}};
  EXPECT_THAT(prepare(outside.image, outside.objects, whole).objects.boxes, IsEmpty());
  outside.objects.boxes = {Box{-500, -500, 600, 600}};
  EXPECT_THAT(prepare(outside.image, outside.objects, whole).objects.boxes, ElementsAre(Box{0, 0, kWidth, kHeight}));
}

TEST(DetectionAugmentations, ThatCannotWorkAreRefused) {
  const auto refused = [](std::initializer_list<std::string> texts, const auto& change) {
    DetectionAugmentation augmentation;
    change(augmentation);
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { validate(augmentation); });
  };
  validate(DetectionAugmentation{});
  refused({"flip_probability"}, [](auto& a) { a.flip_probability = 1.5; });
  refused({"short_sides"}, [](auto& a) { a.short_sides.clear(); });
  refused({"crop_short_sides", "0"}, [](auto& a) { a.crop_short_sides = {400, 0}; });
  refused({"largest_crop"}, [](auto& a) { a.largest_crop = 100; });
}

}  // namespace
}  // namespace convnext
