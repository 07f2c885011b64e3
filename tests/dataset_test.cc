// Class folders and shards as labelled pictures.
#include "io/dataset.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "expect_error.h"
#include "io/file.h"
#include "io/shards.h"
#include "io/tar.h"
#include "model/formula.h"
#include "pictures.h"
#include "temporary_folder.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

using Members = std::vector<std::pair<std::string, std::string>>;

void write_tar(const fs::path& path, const Members& members) {
  fs::create_directories(path.parent_path());
  write_file_atomically(path, [&](const ByteSink& sink) {
    TarWriter writer(sink);
    for (const auto& [name, content] : members) writer.add(name, content);
    writer.finish();
  });
}

std::string png(std::uint64_t seed) { return encode_png(formula_picture(6, 5, seed)); }

// "class member" of each sample.
std::vector<std::string> listed(const Dataset& dataset) {
  std::vector<std::string> lines;
  for (const Sample& sample : dataset.samples) {
    const std::string& name = dataset.classes.at(static_cast<std::size_t>(sample.label));
    lines.push_back(name + " " +
                    (sample.picture.member.empty() ? sample.picture.path.filename().string() : sample.picture.member));
  }
  return lines;
}

TEST(PictureHeader, IsThatOfTheDecodedPicture) {
  const std::string jpeg = small_jpeg(), picture = png(1);
  const auto header = [](std::string_view bytes) {
    return read_picture_header(std::as_bytes(std::span(bytes.data(), bytes.size())), "x");
  };
  EXPECT_EQ(header(jpeg).format, PictureFormat::kJpeg);
  EXPECT_EQ(header(jpeg).width, 16);
  EXPECT_EQ(header(jpeg).height, 16);
  EXPECT_EQ(header(picture).format, PictureFormat::kPng);
  EXPECT_EQ(header(picture).width, 6);
  EXPECT_EQ(header(picture).height, 5);
  expect_error(ErrorCode::kUnsupported, {"'x'", "text"}, [&] { header("dear reader"); });
  expect_error(ErrorCode::kUnsupported, {"'x'", "limit"}, [&] { header(png_that_promises(60000, 60000)); });
  // A JPEG whose size stands behind a camera's notes, and one that ends before it.
  std::string notes = jpeg;
  notes.insert(2, std::string("\xff\xe1\xff\xff", 4) + std::string(0xffff - 2, 'n') + "\xff\xff");
  EXPECT_EQ(header(notes).width, 16);
  expect_error(ErrorCode::kDamaged, {"'x'", "JPEG"}, [&] { header(std::string_view(jpeg).substr(0, 40)); });
  expect_error(ErrorCode::kDamaged, {"'x'", "PNG"}, [&] { header(std::string_view(picture).substr(0, 20)); });
  expect_error(ErrorCode::kDamaged, {"'x'", "WebP"}, [&] { header("RIFF1234WEBPVP8 "); });
}

TEST(Dataset, OfClassFolders) {
  const TemporaryFolder folder;
  for (const char* name : {"dog/b.png", "dog/a.png", "cat/c.png"}) write_bytes(folder / name, "");
  const Dataset dataset = open_dataset(folder.path());
  EXPECT_THAT(dataset.classes, ElementsAre("cat", "dog"));
  EXPECT_THAT(listed(dataset), ElementsAre("cat c.png", "dog a.png", "dog b.png"));
  const std::vector<std::string> known = {"ant", "dog", "cat"};
  EXPECT_EQ(open_dataset(folder.path(), known).samples[0].label, 2);
  expect_error(ErrorCode::kMismatch, {"dog", "ant"}, [&] {
    open_dataset(folder.path(), std::vector<std::string>{"ant", "cat"});
  });
}

// Wherever the folder lies; a picture more, another name or another class are seen.
TEST(Dataset, HashOfNamesTellsPicturesApart) {
  const TemporaryFolder folder;
  std::set<std::uint64_t> hashes;
  const auto hash = [&](const std::string& name, std::initializer_list<const char*> pictures) {
    for (const char* picture : pictures) write_bytes(folder / name / picture, "");
    return hash_of_names(open_dataset(folder / name));
  };
  EXPECT_EQ(hash("one", {"cat/c.png", "dog/a.png"}), hash("two", {"dog/a.png", "cat/c.png"}));
  hashes = {hash("one", {}), hash("more", {"cat/c.png", "dog/a.png", "dog/b.png"}),
            hash("named", {"cat/d.png", "dog/a.png"}), hash("moved", {"cat/a.png", "dog/c.png"}),
            hash("class", {"cat/c.png", "ox/a.png"})};
  EXPECT_EQ(hashes.size(), 5u);
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "cat"}});
  write_tar(folder / "b.tar", {{"2.png", png(1)}, {"2.cls", "cat"}});
  EXPECT_NE(hash_of_names(open_dataset(folder / "a.tar")), hash_of_names(open_dataset(folder / "b.tar")));
}

TEST(Dataset, OfShardsWithAListOfClasses) {
  const TemporaryFolder folder;
  write_tar(folder / "b.tar", {{"3.png", png(3)}, {"3.cls", "cat"}});
  write_tar(folder / "a.tar",
            {{"1.cls", "1\n"}, {"1.png", png(1)}, {"1.json", "{\"label\": 0}"}, {"x/2.PNG", png(2)}, {"x/2.cls", "0"}});
  folder.write("classes.txt", "cat\r\ndog\n");
  const Dataset dataset = open_dataset(folder.path());
  EXPECT_THAT(dataset.classes, ElementsAre("cat", "dog"));
  EXPECT_TRUE(dataset.has_class_names);
  EXPECT_THAT(listed(dataset), ElementsAre("dog 1.png", "cat x/2.PNG", "cat 3.png"));
  // The bytes are those that were put in.
  EXPECT_EQ(open_picture(dataset.samples[1].picture).pixels, formula_picture(6, 5, 2).pixels);
  EXPECT_EQ(read_picture_header(dataset.samples[2].picture).width, 6);
  EXPECT_EQ(dataset.samples[2].picture.name(), (folder / "b.tar").string() + ": 3.png");
  // Labels become those of the classes that are asked for.
  EXPECT_EQ(open_dataset(folder.path(), std::vector<std::string>{"dog", "ant", "cat"}).samples[1].label, 2);
  expect_error(ErrorCode::kMismatch, {"a.tar: 1.png", "'1'"},
               [&] { open_dataset(folder.path(), std::vector<std::string>{"cat"}); });
  EXPECT_THAT(listed(open_dataset(folder / "b.tar")), ElementsAre("cat 3.png"));
}

TEST(Dataset, OfShardsThatOnlyNumberTheirClasses) {
  const TemporaryFolder folder;
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "2"}, {"2.png", png(2)}, {"2.json", "{\"label\": 0}"}});
  const Dataset dataset = open_dataset(folder.path());
  EXPECT_FALSE(dataset.has_class_names);
  EXPECT_THAT(dataset.classes, ElementsAre("0", "1", "2"));
  EXPECT_EQ(dataset.samples[0].label, 2);
  EXPECT_EQ(open_dataset(folder.path(), std::vector<std::string>{"cat", "dog", "ant"}).samples[0].label, 2);
  expect_error(ErrorCode::kMismatch, {"a.tar: 1.png", "'2'"}, [&] {
    open_dataset(folder.path(), std::vector<std::string>{"cat", "dog"});
  });
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "2000000000"}});
  expect_error(ErrorCode::kDamaged, {"2000000000"}, [&] { open_dataset(folder.path()); });
}

TEST(Dataset, OfShardsThatNameTheirClasses) {
  const TemporaryFolder folder;
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "dog"}, {"2.png", png(2)}, {"2.cls", "911"}});
  const Dataset dataset = open_dataset(folder.path());
  EXPECT_TRUE(dataset.has_class_names);
  EXPECT_THAT(listed(dataset), ElementsAre("dog 1.png", "911 2.png"));
  EXPECT_THAT(dataset.classes, ElementsAre("911", "dog"));
}

TEST(Dataset, PassesOverWhatIsNoPartOfASample) {
  const TemporaryFolder folder;
  write_tar(folder / "a.tar", {{"._1.png", "a Mac's"},
                               {"README", "text"},
                               {"1.png", png(1)},
                               {"1.mask.png", png(2)},
                               {"1.cls", "cat"},
                               {"about.json", "{\"label\": 3}"},
                               {"2.png", png(2)},
                               {"2.json", std::string(100'000, ' ')},
                               {"2.cls", "cat"}});
  EXPECT_THAT(listed(open_dataset(folder.path())), ElementsAre("cat 1.png", "cat 2.png"));
}

TEST(Dataset, BrokenSamplesOfShardsAreNamed) {
  const TemporaryFolder folder;
  const auto refuse = [&](const Members& members, std::initializer_list<std::string> texts) {
    write_tar(folder / "a.tar", members);
    expect_error(ErrorCode::kMismatch, texts, [&] { open_dataset(folder.path()); });
  };
  refuse({{"1.png", png(1)}, {"2.png", png(2)}, {"2.cls", "0"}}, {"a.tar", "'1.png'", "1.cls"});
  refuse({{"1.png", png(1)}, {"1.cls", " \n"}}, {"a.tar", "'1.png'"});
  refuse({{"1.cls", "0"}}, {"a.tar", "'1.cls'", "without a picture"});
  refuse({{"1.png", png(1)}, {"1.jpg", small_jpeg()}, {"1.cls", "0"}}, {"'1.png'", "'1.jpg'"});
  refuse({{"1.txt", "no"}}, {"a.tar", "no labelled pictures"});
  folder.write("classes.txt", "cat\ncat\n");
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "0"}});
  expect_error(ErrorCode::kDamaged, {"classes.txt", "line 2"}, [&] { open_dataset(folder.path()); });
  folder.write("classes.txt", "");
  expect_error(ErrorCode::kDamaged, {"classes.txt"}, [&] { open_dataset(folder.path()); });
}

TEST(Dataset, WhatIsNeitherOrBothIsRefused) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {"nowhere"}, [&] { open_dataset(folder / "nowhere"); });
  expect_error(ErrorCode::kNotFound, {"no class folders"}, [&] { open_dataset(folder.path()); });
  write_bytes(folder / "train-0.tar.gz", "");
  expect_error(ErrorCode::kUnsupported, {"train-0.tar.gz", "gunzip"}, [&] { open_dataset(folder.path()); });
  write_tar(folder / "a.tar", {{"1.png", png(1)}, {"1.cls", "0"}});
  fs::create_directory(folder / ".cache");
  EXPECT_EQ(open_dataset(folder.path()).samples.size(), 1u);
  fs::create_directory(folder / "cat");
  expect_error(ErrorCode::kMismatch, {"a.tar", "not both"}, [&] { open_dataset(folder.path()); });
}

TEST(Dataset, SplitsAreFoldersOrWordsInTheNamesOfShards) {
  const TemporaryFolder folder;
  EXPECT_FALSE(find_training_split(folder.path()));
  EXPECT_FALSE(find_held_out_split(folder / "nowhere"));
  const auto sample = [](int i) {
    return Members{{fmt::format("{}.png", i), png(1)}, {fmt::format("{}.cls", i), "0"}};
  };
  write_tar(folder / "set-train-00.tar", sample(1));
  write_tar(folder / "set-train-01.tar", sample(2));
  write_tar(folder / "set-validation-00.tar", sample(3));
  write_tar(folder / "constraints.tar", sample(4));
  EXPECT_THAT(listed(open_dataset(*find_training_split(folder.path()))), ElementsAre("0 1.png", "0 2.png"));
  EXPECT_THAT(listed(open_dataset(*find_held_out_split(folder.path()))), ElementsAre("0 3.png"));
  EXPECT_EQ(find_held_out_split(folder.path())->name(), (folder / "*validation*.tar").string());
  fs::create_directory(folder / "test");
  EXPECT_EQ(find_held_out_split(folder.path())->folder, folder / "test") << "folders come before shards";
  fs::create_directory(folder / "val");
  EXPECT_EQ(find_held_out_split(folder.path())->folder, folder / "val");
}

class Pack : public testing::Test {
 protected:
  Pack() {
    for (int i = 0; i < 7; ++i)
      write_bytes(folder_ / fmt::format("in/{}/{}.png", i % 2 ? "dog" : "cat", i), png(static_cast<std::uint64_t>(i)));
    write_bytes(folder_ / "in/cat/x.png", small_jpeg());  // named by what it is, not by what it is called
  }

  PackedShards pack(const std::string& name, const ShardOptions& options) {
    fs::create_directories(folder_ / name);
    failures_.clear();
    return write_shards(open_dataset(folder_ / "in"), folder_ / name, options, [this](std::string_view failure) {
      if (!failure.empty()) failures_.emplace_back(failure);
    });
  }

  std::string bytes_of(const std::string& name) { return read_text(folder_ / name); }

  TemporaryFolder folder_;
  std::vector<std::string> failures_;
};

// Every picture, by its bytes and class.
std::multiset<std::pair<std::string, std::string>> contents(const Dataset& dataset) {
  std::multiset<std::pair<std::string, std::string>> all;
  for (const Sample& sample : dataset.samples) {
    const std::vector<std::byte> bytes = read_bytes(sample.picture);
    all.emplace(dataset.classes.at(static_cast<std::size_t>(sample.label)),
                std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  return all;
}

TEST_F(Pack, KeepsEveryPictureAndItsClass) {
  const PackedShards packed = pack("out", {.name = "train", .max_pictures = 3});
  EXPECT_EQ(packed.pictures, 8);
  EXPECT_EQ(packed.shards, 3);
  EXPECT_THAT(failures_, IsEmpty());
  EXPECT_EQ(bytes_of("out/classes.txt"), "cat\ndog\n");
  std::uint64_t bytes = 0;
  for (const fs::path& shard : list_shards(folder_ / "out")) bytes += fs::file_size(shard);
  EXPECT_EQ(packed.bytes, bytes);
  const Dataset read = open_dataset(folder_ / "out");
  EXPECT_EQ(contents(read), contents(open_dataset(folder_ / "in")));
  std::multiset<std::string> extensions;
  for (const Sample& sample : read.samples) extensions.insert(fs::path(sample.picture.member).extension().string());
  EXPECT_EQ(extensions.count(".jpg"), 1u);
  EXPECT_EQ(extensions.count(".png"), 7u);
}

TEST_F(Pack, OrderDependsOnTheSeedAlone) {
  pack("a", {.seed = 1});
  pack("b", {.seed = 1});
  pack("c", {.seed = 2});
  EXPECT_TRUE(bytes_of("a/train-000000.tar") == bytes_of("b/train-000000.tar"));
  EXPECT_FALSE(bytes_of("a/train-000000.tar") == bytes_of("c/train-000000.tar"));
  EXPECT_EQ(contents(open_dataset(folder_ / "a")), contents(open_dataset(folder_ / "c")));
  std::vector<int> labels;
  for (const Sample& sample : open_dataset(folder_ / "a").samples) labels.push_back(sample.label);
  EXPECT_FALSE(std::ranges::is_sorted(labels)) << "classes must be mixed";
}

TEST_F(Pack, ShardsAreNoLargerThanAsked) {
  constexpr std::uint64_t kMaxBytes = 6000;
  pack("out", {.max_bytes = kMaxBytes});
  const auto shards = list_shards(folder_ / "out");
  EXPECT_GT(shards.size(), 1u);
  for (const fs::path& shard : shards) EXPECT_LE(fs::file_size(shard), kMaxBytes);
  pack("tiny", {.max_bytes = 1});
  EXPECT_EQ(list_shards(folder_ / "tiny").size(), 8u) << "a picture a shard at least";
}

TEST_F(Pack, LeavesOutWhatCannotBeReadAndSaysSo) {
  write_bytes(folder_ / "in/dog/bad.png", "no picture");
  const PackedShards packed = pack("out", {});
  EXPECT_EQ(packed.pictures, 8);
  EXPECT_EQ(packed.failed, 1);
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_THAT(failures_[0], testing::HasSubstr("bad.png"));
  EXPECT_EQ(open_dataset(folder_ / "out").samples.size(), 8u);
  fs::remove_all(folder_ / "in");
  write_bytes(folder_ / "in/dog/bad.png", "no picture");
  expect_error(ErrorCode::kDamaged, {"none of the 1 pictures", "bad.png"}, [&] { pack("none", {}); });
}

TEST_F(Pack, AClassNameThatIsNoLineIsRefused) {
  write_bytes(folder_ / "in/two\nlines/1.png", png(1));
  expect_error(ErrorCode::kInvalidArgument, {"lines", "line break"}, [&] { pack("out", {}); });
}

// What was cut off after it was indexed is an error, not a crash.
TEST_F(Pack, AShardThatShrinksIsAnError) {
  pack("out", {});
  const Dataset dataset = open_dataset(folder_ / "out");
  fs::resize_file(folder_ / "out/train-000000.tar", 600);
  expect_error(ErrorCode::kDamaged, {"train-000000.tar", "ends at"}, [&] { open_picture(dataset.samples[3].picture); });
}

}  // namespace
}  // namespace convnext
