#include "model/class_matching.h"

#include <gmock/gmock.h>

#include "expect_error.h"
#include "pictures.h"
#include "temporary_folder.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::Pair;

const ModelClasses kAnimals = {.count = 4, .labels = {"cat", "dog", "sea lion", "crane"}};

TEST(ClassMatching, ByLabelWhateverTheOrderAndOfASubset) {
  EXPECT_THAT(match_classes({"crane", "cat"}, kAnimals), ElementsAre(3, 0));
}

TEST(ClassMatching, CaseAndUnderscoresDoNotMatter) {
  EXPECT_THAT(match_classes({"Cat", "Sea_Lion"}, kAnimals), ElementsAre(0, 2));
}

// A label that differs from another in case only is still matched exactly.
TEST(ClassMatching, TheExactLabelComesFirst) {
  EXPECT_THAT(match_classes({"Cat", "cat"}, {.count = 2, .labels = {"cat", "Cat"}}), ElementsAre(1, 0));
}

TEST(ClassMatching, BySynsetIdInFolderLabelOrBoth) {
  const ModelClasses both = {.count = 2, .labels = {"n02123045 tabby", "n02084071 dog"}};
  EXPECT_THAT(match_classes({"n02084071", "n02123045_tabby_cat"}, both), ElementsAre(1, 0));
  EXPECT_THAT(match_classes({"tabby", "dog"}, both), ElementsAre(0, 1));
  const ModelClasses ids = {.count = 2, .labels = {"n02123045", "n02084071"}};
  EXPECT_THAT(match_classes({"n02084071 dog"}, ids), ElementsAre(1));
  // Not an id: too short, or with letters behind it.
  EXPECT_THROW(match_classes({"n0208407"}, ids), Error);
  EXPECT_THROW(match_classes({"n020840711"}, ids), Error);
}

TEST(ClassMatching, AMismatchShowsBothSides) {
  expect_error(ErrorCode::kMismatch, {"2 of 3 class folders", "'horse', 'frog'", "'cat', 'dog'", "--class-map"}, [] {
    match_classes({"horse", "cat", "frog"}, kAnimals);
  });
  expect_error(ErrorCode::kMismatch, {"no labels", "'cat'", "--by-index", "--class-map"},
               [] { match_classes({"cat"}, {.count = 4, .labels = {}}); });
}

TEST(ClassMatching, OnlySomeExamplesAreShown) {
  std::vector<std::string> folders;
  for (int i = 0; i < 1000; ++i) folders.push_back("folder" + std::to_string(i));
  expect_error(ErrorCode::kMismatch, {"1000 of 1000", "folder4', ..."}, [&] { match_classes(folders, kAnimals); });
}

// ImageNet has two cranes: the bird and the machine.
TEST(ClassMatching, ALabelThatTwoClassesHaveNeedsTheMap) {
  const ModelClasses cranes = {.count = 2, .labels = {"crane", "crane"}};
  expect_error(ErrorCode::kMismatch, {"'crane'", "0, 1", "class map"}, [&] { match_classes({"crane"}, cranes); });
  EXPECT_THAT(match_classes({"crane"}, cranes, {{"crane", "1"}}), ElementsAre(1));
}

TEST(ClassMatching, TheMapTakesLabelsAndIndices) {
  EXPECT_THAT(match_classes({"kitty", "puppy", "cat"}, kAnimals, {{"kitty", "cat"}, {"puppy", "1"}, {"unused", "2"}}),
              ElementsAre(0, 1, 0));
  EXPECT_THAT(match_classes({"a"}, {.count = 3, .labels = {}}, {{"a", "2"}}), ElementsAre(2));
  // A label that is a number is a label.
  EXPECT_THAT(match_classes({"a"}, {.count = 2, .labels = {"1", "0"}}, {{"a", "0"}}), ElementsAre(1));
}

TEST(ClassMatching, AMapThatIsWrongIsRefused) {
  expect_error(ErrorCode::kMismatch, {"'kitty'", "'lion'", "0 to 3"}, [] {
    match_classes({"kitty"}, kAnimals, {{"kitty", "lion"}});
  });
  EXPECT_THROW(match_classes({"kitty"}, kAnimals, {{"kitty", "4"}}), Error);
  EXPECT_THROW(match_classes({"kitty"}, kAnimals, {{"kitty", "-1"}}), Error);
  expect_error(ErrorCode::kMismatch, {"'cat'", "'dog'"}, [] { match_classes({"cat"}, kAnimals, {{"cat", "dog"}}); });
}

TEST(ClassMatching, ByIndexNeedsAFolderForEveryClass) {
  EXPECT_THAT(match_classes_by_index({"a", "b", "c", "d"}, kAnimals), ElementsAre(0, 1, 2, 3));
  expect_error(ErrorCode::kMismatch, {"2 class folders", "4 classes", "'a', 'b'", "'cat'"}, [] {
    match_classes_by_index({"a", "b"}, kAnimals);
  });
}

TEST(ClassMap, ReadsLinesWithSpacesTabsAndComments) {
  const TemporaryFolder folder;
  write_bytes(folder / "map.txt", "# folder class\nkitty cat\r\n\nold sea\tsea lion  \npuppy    1");
  EXPECT_THAT(read_class_map(folder / "map.txt"),
              ElementsAre(Pair("kitty", "cat"), Pair("old sea", "sea lion"), Pair("puppy", "1")));
}

TEST(ClassMap, NamesTheLineThatIsWrong) {
  const TemporaryFolder folder;
  write_bytes(folder / "map.txt", "kitty cat\nlonely\n");
  expect_error(ErrorCode::kDamaged, {"map.txt", "line 2"}, [&] { read_class_map(folder / "map.txt"); });
  write_bytes(folder / "map.txt", "kitty cat\npuppy dog\nkitty dog\n");
  expect_error(ErrorCode::kDamaged, {"line 3", "'kitty'", "twice"}, [&] { read_class_map(folder / "map.txt"); });
  expect_error(ErrorCode::kNotFound, {"missing.txt"}, [&] { read_class_map(folder / "missing.txt"); });
}

}  // namespace
}  // namespace convnext
