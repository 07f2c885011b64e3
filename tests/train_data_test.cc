// The pictures of training: what is held out, what is kept in memory, and what becomes of those that cannot be read.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "tests/drawn_pictures.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"
#include "train/dataset.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Dataset dataset_of(const std::vector<int>& pictures_of_class) {
  Dataset dataset;
  for (std::size_t label = 0; label < pictures_of_class.size(); ++label) {
    dataset.classes.push_back(fmt::format("class {}", label));
    for (int i = 0; i < pictures_of_class[label]; ++i) {
      dataset.samples.push_back(
          {.picture = {.path = fmt::format("{}/{}", label, i), .member = {}}, .label = static_cast<int>(label)});
    }
  }
  return dataset;
}

std::vector<int> counts(const Dataset& dataset) {
  std::vector<int> counts(dataset.classes.size());
  for (const Sample& sample : dataset.samples) ++counts[static_cast<std::size_t>(sample.label)];
  return counts;
}

std::set<fs::path> paths(const Dataset& dataset) {
  std::set<fs::path> paths;
  for (const Sample& sample : dataset.samples) paths.insert(sample.picture.path);
  return paths;
}

TEST(HoldOut, TakesItsShareOfEveryClass) {
  const HeldOut parts = hold_out(dataset_of({100, 10, 3, 2, 1, 0}), 0.1, 7);
  EXPECT_THAT(counts(parts.held_out), ElementsAre(10, 1, 1, 1, 0, 0));
  EXPECT_THAT(counts(parts.training), ElementsAre(90, 9, 2, 1, 1, 0));
  EXPECT_THAT(counts(hold_out(dataset_of({10, 2}), 0.99, 7).training), ElementsAre(1, 1)) << "never all of a class";
  EXPECT_EQ(parts.held_out.classes.size(), 6u);
}

TEST(HoldOut, PartsAreDisjointAndWhole) {
  const Dataset all = dataset_of({40, 25});
  const HeldOut parts = hold_out(all, 0.2, 1);
  std::set<fs::path> both = paths(parts.training);
  both.merge(paths(parts.held_out));
  EXPECT_EQ(both, paths(all));
  EXPECT_EQ(parts.training.samples.size() + parts.held_out.samples.size(), all.samples.size());
}

TEST(HoldOut, DependsOnTheSeedAlone) {
  const Dataset all = dataset_of({100});
  EXPECT_EQ(paths(hold_out(all, 0.2, 1).held_out), paths(hold_out(all, 0.2, 1).held_out));
  EXPECT_NE(paths(hold_out(all, 0.2, 1).held_out), paths(hold_out(all, 0.2, 2).held_out));
  EXPECT_FALSE(paths(hold_out(all, 0.2, 1).held_out) == paths(dataset_of({20}))) << "not simply the first ones";
}

TEST(HoldOut, AFractionThatIsNoneIsRefused) {
  for (const double fraction : {0.0, 1.0, -0.1, std::nan("")}) {
    expect_error(ErrorCode::kInvalidArgument, {"held out"}, [&] { hold_out(dataset_of({4}), fraction, 0); });
  }
}

class PictureSourceTest : public testing::Test {
 protected:
  PictureSourceTest() {
    draw_pictures(folder_ / "in", 6);  // 24x24
    preprocessing_.resolution = 16;
    preprocessing_.crop_fraction = 1.0;
  }

  Dataset dataset() const { return read_image_folder(folder_ / "in"); }
  Image original(std::size_t index) const { return open_picture(dataset().samples[index].picture); }

  // The whole header and some pixels.
  void cut_off(const std::string& name) { fs::resize_file(folder_ / "in" / name, 60); }

  TemporaryFolder folder_;
  Preprocessing preprocessing_;
  ThreadPool pool_{2};
};

constexpr std::size_t kResizedBytes = 16 * 16 * 3, kOriginalBytes = 24 * 24 * 3;

TEST_F(PictureSourceTest, GivesTheSameWhateverIsKept) {
  for (const KeptPicture kept : {KeptPicture::kResized, KeptPicture::kOriginal}) {
    const std::size_t bytes = kept == KeptPicture::kResized ? kResizedBytes : kOriginalBytes;
    for (const std::size_t pictures : std::initializer_list<std::size_t>{0, 5, 12, 99}) {
      const PictureSource source(dataset(), preprocessing_, pool_, {.kept = kept, .memory_limit = pictures * bytes});
      ASSERT_EQ(source.samples().size(), 12u);
      EXPECT_EQ(source.pictures_in_memory(), std::min<std::size_t>(pictures, 12));
      for (const std::size_t i : std::initializer_list<std::size_t>{0, 4, 5, 11}) {
        const Image expected =
            kept == KeptPicture::kOriginal ? original(i) : resize_and_crop(original(i), preprocessing_);
        EXPECT_EQ(source.get(i).width, expected.width);
        EXPECT_TRUE(source.get(i).pixels == expected.pixels) << i;
        EXPECT_TRUE(source.example(i).image.pixels == expected.pixels) << i;
        EXPECT_EQ(source.example(i).label, source.samples()[i].label);
      }
    }
  }
}

TEST_F(PictureSourceTest, MemoryStaysBelowTheLimitByAByte) {
  const PictureSource source(dataset(), preprocessing_, pool_,
                             {.kept = KeptPicture::kOriginal, .memory_limit = 3 * kOriginalBytes - 1});
  EXPECT_EQ(source.pictures_in_memory(), 2u);
}

TEST_F(PictureSourceTest, LeavesOutWhatHasNoHeaderWhetherKeptOrNot) {
  write_bytes(folder_ / "in/cross/0001.png", "not a picture");
  for (const KeptPicture kept : {KeptPicture::kResized, KeptPicture::kOriginal}) {
    for (const std::size_t limit : {std::size_t{0}, 3 * kOriginalBytes, std::size_t{1} << 30}) {
      const PictureSource source(dataset(), preprocessing_, pool_, {.kept = kept, .memory_limit = limit});
      EXPECT_EQ(source.samples().size(), 11u);
      ASSERT_EQ(source.failures().size(), 1u);
      EXPECT_THAT(source.failures()[0], HasSubstr("cross/0001.png"));
      // What comes after it has kept its picture and its label.
      EXPECT_TRUE(source.get(1).pixels ==
                  (kept == KeptPicture::kOriginal ? original(2) : resize_and_crop(original(2), preprocessing_)).pixels);
    }
  }
}

TEST_F(PictureSourceTest, LeavesOutADamagedPictureThatWouldBeKept) {
  cut_off("square/0002.png");
  const PictureSource source(dataset(), preprocessing_, pool_);
  EXPECT_EQ(source.samples().size(), 11u);
  ASSERT_EQ(source.failures().size(), 1u);
  EXPECT_THAT(source.failures()[0], HasSubstr("square/0002.png"));
}

// The last of one class and the first two of the next; the label is that of the picture that is shown.
TEST_F(PictureSourceTest, PutsTheNextInThePlaceOfADamagedPicture) {
  for (const char* name : {"cross/0005.png", "square/0000.png", "square/0005.png"}) cut_off(name);
  const PictureSource source(dataset(), preprocessing_, pool_, {.memory_limit = 0});
  ASSERT_EQ(source.samples().size(), 12u);
  EXPECT_THAT(source.failures(), IsEmpty());
  EXPECT_THROW(source.get(5), Error);
  for (int again = 0; again < 2; ++again) {
    const Example example = source.example(5);
    EXPECT_EQ(example.label, 1);
    EXPECT_TRUE(example.image.pixels == source.get(7).pixels);
  }
  EXPECT_TRUE(source.example(11).image.pixels == source.get(0).pixels) << "behind the last comes the first";
  EXPECT_EQ(source.example(11).label, 0);
  EXPECT_THAT(source.new_failures(),
              ElementsAre(HasSubstr("cross/0005.png"), HasSubstr("square/0000.png"), HasSubstr("square/0005.png")));
  source.example(5);
  EXPECT_THAT(source.new_failures(), IsEmpty()) << "each is told once";
}

TEST_F(PictureSourceTest, StopsWhenNothingCanBeReadAnyMore) {
  const PictureSource source(dataset(), preprocessing_, pool_, {.memory_limit = 0});
  fs::remove_all(folder_ / "in");
  expect_error(ErrorCode::kDamaged, {"in a row", ".png"}, [&] { source.example(3); });
}

TEST_F(PictureSourceTest, NoPictureAtAllIsAnError) {
  for (const char* name : {"in/cross", "in/square"}) fs::remove_all(folder_ / name);
  write_bytes(folder_ / "in/cross/0000.png", "not a picture");
  expect_error(ErrorCode::kDamaged, {"none of the 1 pictures", "0000.png"},
               [&] { PictureSource(dataset(), preprocessing_, pool_); });
}

TEST(PictureMemory, IsAPartOfTheMachines) {
  EXPECT_GT(default_picture_memory(), std::size_t{16} << 20);
  EXPECT_LT(default_picture_memory(), std::size_t{1} << 50);
}

}  // namespace
}  // namespace convnext
