#include "io/image_folder.h"

#include <gmock/gmock.h>

#include "expect_error.h"
#include "pictures.h"
#include "temporary_folder.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

std::vector<std::string> walked(const fs::path& folder) {
  std::vector<std::string> names;
  walk_pictures(folder, [&](const fs::path& file) {
    names.push_back(fs::relative(file, folder).string());
    return true;
  });
  return names;
}

TEST(ImageFolder, WalksPicturesOfAllKindsInTheOrderOfNames) {
  const TemporaryFolder folder;
  for (const char* name : {"b/2.PNG", "b/1.webp", "a.jpeg", "c.Jpg", "b/deep/er/3.jpg", "notes.txt", "jpg"}) {
    write_bytes(folder / name, "");
  }
  EXPECT_THAT(walked(folder.path()), ElementsAre("a.jpeg", "b/1.webp", "b/2.PNG", "b/deep/er/3.jpg", "c.Jpg"));
}

TEST(ImageFolder, ALinkInACircleEnds) {
  const TemporaryFolder folder;
  write_bytes(folder / "a/1.png", "");
  fs::create_directory_symlink(folder.path(), folder / "a/round");
  EXPECT_THAT(walked(folder.path()), ElementsAre("a/1.png"));
}

TEST(ImageFolder, StopsWhenTheVisitorHasEnough) {
  const TemporaryFolder folder;
  for (const char* name : {"a/1.png", "a/2.png", "b/3.png"}) write_bytes(folder / name, "");
  int visited = 0;
  walk_pictures(folder.path(), [&](const fs::path&) { return ++visited < 2; });
  EXPECT_EQ(visited, 2);
}

TEST(ImageFolder, ClassesAreTheFoldersSorted) {
  const TemporaryFolder folder;
  for (const char* name : {"dog/b.png", "dog/a.png", "cat/deep/c.png", "readme.txt"}) write_bytes(folder / name, "");
  const std::vector<ClassFolder> classes = list_class_folders(folder.path());
  ASSERT_EQ(classes.size(), 2u);
  EXPECT_EQ(classes[0].name, "cat");
  EXPECT_EQ(classes[1].name, "dog");
  EXPECT_THAT(classes[1].pictures, ElementsAre(folder / "dog/a.png", folder / "dog/b.png"));
}

TEST(ImageFolder, WhatIsNoImageFolderIsNamed) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {"missing"}, [&] { list_class_folders(folder / "missing"); });
  expect_error(ErrorCode::kNotFound, {folder.path().string(), "no class folders"},
               [&] { list_class_folders(folder.path()); });
  write_bytes(folder / "cat/1.png", "");
  fs::create_directory(folder / "dog");
  expect_error(ErrorCode::kMismatch, {"dog", "no pictures"}, [&] { list_class_folders(folder.path()); });
}

}  // namespace
}  // namespace convnext
