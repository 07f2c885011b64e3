#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, BytesOutliveTheObjectWithTheirOwner) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "some bytes");
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  {
    const MappedFile file = MappedFile::open(folder / "a");
    EXPECT_EQ(text_of(file), "some bytes");
    bytes = file.bytes();
    owner = file.owner();
  }
  EXPECT_EQ(static_cast<char>(bytes.back()), 's');
}

// Bytes of files that are in this process's memory.
long resident_of_files() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::stol(line.substr(8)) << 10;
  }
  return 0;
}

TEST(ReleasePages, GivesTheMemoryOfAMappedFileBackAndItCanBeReadAgain) {
  constexpr std::size_t kSize = (std::size_t{8} << 20) + 1000;
  const TemporaryFolder folder;
  std::string text(kSize, 'x');
  for (std::size_t i = 0; i < kSize; i += 999) text[i] = static_cast<char>('a' + i % 26);
  write_file_atomically(folder / "large", text);
  const MappedFile file = MappedFile::open(folder / "large");
  const long before = resident_of_files();
  EXPECT_EQ(text_of(file), text);
  ASSERT_GT(resident_of_files() - before, long{7} << 20);
  release_pages(file.owner(), file.bytes().subspan(0, kSize / 2));
  EXPECT_LT(resident_of_files() - before, long{5} << 20);
  EXPECT_GT(resident_of_files() - before, long{1} << 20);
  release_pages(file.owner(), file.bytes().subspan(kSize / 2));
  EXPECT_LT(resident_of_files() - before, long{1} << 20);
  EXPECT_EQ(text_of(file), text);
  release_pages(file.owner(), file.bytes().last(1));
  release_pages(file.owner(), {});
  EXPECT_EQ(text_of(file), text);
}

// The system would fill it with zeros.
TEST(ReleasePages, LeavesOtherMemoryAlone) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "some bytes");
  const MappedFile file = MappedFile::open(folder / "a");
  const auto heap = std::make_shared<const std::string>(std::size_t{1} << 20, 'x');
  const std::string copy = *heap;
  const auto bytes = std::as_bytes(std::span(heap->data(), heap->size()));
  release_pages(heap, bytes);
  release_pages(file.owner(), bytes);
  release_pages(nullptr, bytes);
  EXPECT_EQ(*heap, copy);
  EXPECT_EQ(text_of(file), "some bytes");
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "empty", "");
  EXPECT_TRUE(MappedFile::open(folder / "empty").bytes().empty());
}

TEST(MappedFile, SaysWhatIsNotAFileToRead) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  expect_error(ErrorCode::kNotFound, {"missing", "No such file"}, [&] { MappedFile::open(folder / "missing"); });
  expect_error(ErrorCode::kNotFound, {"file/below"}, [&] { MappedFile::open(folder / "file/below"); });
  expect_error(ErrorCode::kInvalidArgument, {"folder"}, [&] { MappedFile::open(folder.path()); });
  expect_error(ErrorCode::kInvalidArgument, {"not a regular file"}, [] { MappedFile::open("/dev/null"); });
}

// Opening a pipe that nobody writes to waits for ever, unless asked not to.
TEST(MappedFile, APipeDoesNotHang) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_error(ErrorCode::kInvalidArgument, {"pipe"}, [&] { MappedFile::open(pipe); });
}

TEST(ReadText, ReadsWholeFilesAndThoseThatDoNotTellTheirSize) {
  const TemporaryFolder folder;
  const std::string long_text(200'000, 'x');
  write_file_atomically(folder / "a", long_text);
  EXPECT_EQ(read_text(folder / "a"), long_text);
  EXPECT_FALSE(read_text("/proc/self/status").empty());
}

TEST(ReadText, RefusesMoreThanTheLimit) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "12345");
  EXPECT_EQ(read_text(folder / "a", 5), "12345");
  expect_error(ErrorCode::kInvalidArgument, {"larger than 4"}, [&] { read_text(folder / "a", 4); });
  expect_error(ErrorCode::kInvalidArgument, {"larger than 1000"}, [] { read_text("/dev/zero", 1000); });
  expect_error(ErrorCode::kNotFound, {"missing"}, [&] { read_text(folder / "missing"); });
  expect_error(ErrorCode::kInvalidArgument, {"folder"}, [&] { read_text(folder.path()); });
}

TEST(WriteAtomically, ReplacesAFileAndLeavesNothingElse) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "first and longer");
  write_file_atomically(folder / "a", "second");
  EXPECT_EQ(read_text(folder / "a"), "second");
  EXPECT_EQ(folder.entries(), 1u);
}

// Half a file under its own name is what the next start of the program would trip over.
TEST(WriteAtomically, WhenTheWriterThrowsTheOldFileStays) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  EXPECT_THROW(write_file_atomically(folder / "a",
                                     [](const ByteSink& sink) {
                                       sink(std::as_bytes(std::span("half", 4)));
                                       throw std::runtime_error("stopped");
                                     }),
               std::runtime_error);
  EXPECT_EQ(read_text(folder / "a"), "old");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(WriteAtomically, WhenTheFolderVanishesNothingIsLeft) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "gone");
  expect_error(ErrorCode::kNotFound, {"gone/a"}, [&] {
    write_file_atomically(folder / "gone/a", [&](const ByteSink& sink) {
      fs::remove_all(folder / "gone");
      sink(std::as_bytes(std::span("text", 4)));
    });
  });
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(WriteAtomically, PlacesThatCannotBeWrittenAreNamed) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  expect_error(ErrorCode::kNotFound, {"missing/a", "no folder"},
               [&] { write_file_atomically(folder / "missing/a", "text"); });
  expect_error(ErrorCode::kNotFound, {"file/a"}, [&] { write_file_atomically(folder / "file/a", "text"); });
  expect_error(ErrorCode::kInvalidArgument, {"is a folder"}, [&] { write_file_atomically(folder.path(), "text"); });
  EXPECT_THROW(write_file_atomically("/proc/convnext", "text"), Error);
  EXPECT_EQ(folder.entries(), 1u);
  EXPECT_EQ(read_text(folder / "file"), "x");
}

// A rename onto /dev/null would turn it into a file for the whole machine.
TEST(WriteAtomically, DevicesAreNotReplaced) {
  expect_error(ErrorCode::kInvalidArgument, {"/dev/null", "regular"},
               [] { write_file_atomically("/dev/null", "text"); });
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(WriteAtomically, LinksStayLinks) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "real");
  write_file_atomically(folder / "real/a", "old");
  fs::create_symlink("real/a", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_text(folder / "real/a"), "new");
}

TEST(WriteAtomically, ObeysTheUmask) {
  const TemporaryFolder folder;
  const mode_t before = umask(0027);
  write_file_atomically(folder / "a", "text");
  umask(before);
  EXPECT_EQ(fs::status(folder / "a").permissions(), fs::perms{0640});
}

}  // namespace
}  // namespace convnext
