// Event files, read back by a reader of the formats' own descriptions that shares no code with the writer.
#include "train/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "io/file.h"
#include "model/formula.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

// CRC-32C bit by bit (RFC 3720, appendix B.4).
std::uint32_t crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return crc ^ 0xffffffffu;
}

TEST(Crc32c, OfTheTestsReaderHasTheKnownValues) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

std::uint64_t little_endian(const std::string& bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}

  bool at_end() const { return place_ == bytes_.size(); }
  std::string take(std::uint64_t count) {
    if (count > bytes_.size() - place_) throw std::runtime_error("the file ends too early");
    place_ += count;
    return bytes_.substr(place_ - count, count);
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  }

 private:
  std::string bytes_;
  std::size_t place_ = 0;
};

std::vector<std::string> records(const std::string& file) {
  Reader reader(file);
  const auto masked = [](const std::string& bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  std::vector<std::string> all;
  while (!reader.at_end()) {
    const std::string length = reader.take(8);
    if (little_endian(reader.take(4)) != masked(length)) throw std::runtime_error("the CRC of a length is wrong");
    all.push_back(reader.take(little_endian(length)));
    if (little_endian(reader.take(4)) != masked(all.back())) throw std::runtime_error("the CRC of a record is wrong");
  }
  return all;
}

// A protobuf message as its fields by number; integers and floats as they lie in the file, widened.
struct Message {
  std::map<unsigned, std::uint64_t> numbers;
  std::map<unsigned, std::string> bytes;

  explicit Message(const std::string& text) {
    for (Reader reader(text); !reader.at_end();) {
      const std::uint64_t key = reader.varint();
      const auto field = static_cast<unsigned>(key >> 3);
      const unsigned type = key & 7;
      if (numbers.contains(field) || bytes.contains(field)) throw std::runtime_error("a field stands twice");
      if (type == 0) {
        numbers[field] = reader.varint();
      } else if (type == 1 || type == 5) {
        numbers[field] = little_endian(reader.take(type == 1 ? 8 : 4));
      } else if (type == 2) {
        bytes[field] = reader.take(reader.varint());
      } else {
        throw std::runtime_error("a field of an unknown type");
      }
    }
  }
  Message inner(unsigned field) const { return Message(bytes.at(field)); }
  double float64(unsigned field) const { return std::bit_cast<double>(numbers.at(field)); }
  float float32(unsigned field) const { return std::bit_cast<float>(static_cast<std::uint32_t>(numbers.at(field))); }
};

// Field numbers of Event, Summary, Summary.Value, ...
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr unsigned kSummaryValue = 1, kTag = 1, kSimpleValue = 2, kImage = 4, kTensor = 8, kMetadata = 9;

std::vector<Message> events(const std::filesystem::path& file) {
  std::vector<Message> all;
  for (const std::string& record : records(read_text(file))) all.emplace_back(record);
  return all;
}

Message value_of(const Message& event) { return event.inner(kSummary).inner(kSummaryValue); }

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files(std::filesystem::directory_iterator(folder), {});
  std::sort(files.begin(), files.end());
  return files;
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

TEST(TensorBoard, BeginsAFileWithItsVersionAndTheStartOfASession) {
  const TemporaryFolder folder;
  const double before = now();
  const TensorBoardWriter writer(folder / "deep/board", 41);
  ASSERT_EQ(files_in(folder / "deep/board"), std::vector{writer.file()});
  EXPECT_THAT(writer.file().filename().string(), testing::HasSubstr("tfevents"));
  const auto all = events(writer.file());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].bytes.at(kFileVersion), "brain.Event:2");
  EXPECT_GE(all[0].float64(kWallTime), before);
  EXPECT_LE(all[0].float64(kWallTime), now());
  EXPECT_EQ(all[1].numbers.at(kStep), 41u);
  EXPECT_EQ(all[1].inner(kSessionLog).numbers.at(1), 1u) << "SessionLog.START";
}

TEST(TensorBoard, HoldsScalarsAsTheyWereGiven) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 1);
  const std::vector<double> values = {2.302, -0.0, 1e-30, 4e-3, std::numeric_limits<double>::infinity()};
  // Steps around the places where a varint grows, and beyond 32 bits.
  const std::vector<std::int64_t> steps = {127, 128, 16383, 16384, std::int64_t{1} << 40};
  for (std::size_t i = 0; i < values.size(); ++i) writer.scalar("loss/train", steps[i], values[i]);
  const auto all = events(writer.file());
  ASSERT_EQ(all.size(), 2 + values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Message& event = all[2 + i];
    EXPECT_EQ(event.numbers.at(kStep), static_cast<std::uint64_t>(steps[i]));
    EXPECT_EQ(value_of(event).bytes.at(kTag), "loss/train");
    EXPECT_EQ(value_of(event).float32(kSimpleValue), static_cast<float>(values[i]));
  }
}

TEST(TensorBoard, HoldsTextForItsTextPage) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 1);
  const std::string text = "    lr = 4e-3\n    # \xc3\xa9poque\n" + std::string(5000, 'x');
  writer.text("settings", 0, text);
  const Message value = value_of(events(writer.file()).at(2));
  EXPECT_EQ(value.bytes.at(kTag), "settings");
  EXPECT_EQ(value.inner(kMetadata).inner(1).bytes.at(1), "text") << "the plugin that shows it";
  EXPECT_EQ(value.inner(kTensor).numbers.at(1), 7u) << "DT_STRING";
  EXPECT_EQ(value.inner(kTensor).bytes.at(2), "") << "the shape of a single value";
  EXPECT_EQ(value.inner(kTensor).bytes.at(8), text);
}

TEST(TensorBoard, HoldsAPictureAsPng) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 1);
  const Image image = formula_picture(21, 13, 3);
  writer.image("batch", 5, image);
  const Message picture = value_of(events(writer.file()).at(2)).inner(kImage);
  EXPECT_EQ(picture.numbers.at(1), 13u) << "height";
  EXPECT_EQ(picture.numbers.at(2), 21u) << "width";
  EXPECT_EQ(picture.numbers.at(3), 3u) << "channels";
  const std::string& png = picture.bytes.at(4);
  EXPECT_EQ(Image::decode(std::as_bytes(std::span(png)), "picture").pixels, image.pixels);
}

// The run may be watched while it goes, and may be killed.
TEST(TensorBoard, HasWrittenAnEventWhenTheCallReturns) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 1);
  for (int step = 1; step <= 3; ++step) {
    writer.scalar("loss", step, 1.0);
    EXPECT_EQ(events(writer.file()).size(), static_cast<std::size_t>(2 + step));
  }
}

// TensorBoard reads files by name, so that a session's must come after those before it: within a second, and after a
// clock that was an hour ahead.
TEST(TensorBoard, GivesEachSessionAFileThatSortsLast) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> in_order;
  for (int session = 0; session < 3; ++session) in_order.push_back(TensorBoardWriter(folder.path(), 1).file());
  EXPECT_EQ(files_in(folder.path()), in_order);
  const auto ahead = static_cast<std::int64_t>(now()) + 3600;
  folder.write("events.out.tfevents." + std::to_string(ahead) + ".other", "");
  const TensorBoardWriter last(folder.path(), 1);
  EXPECT_EQ(files_in(folder.path()).back(), last.file());
}

TEST(TensorBoard, LeavesForeignFilesAlone) {
  const TemporaryFolder folder;
  folder.write("events.out.tfevents.not-a-number", "a");
  folder.write("notes.txt", "b");
  const TensorBoardWriter writer(folder.path(), 1);
  EXPECT_EQ(folder.entries(), 3u);
  EXPECT_EQ(read_text(folder / "notes.txt"), "b");
}

TEST(TensorBoard, SaysWhereItCannotWrite) {
  const TemporaryFolder folder;
  folder.write("file", "");
  expect_error(ErrorCode::kIo, {"file/board"}, [&] { TensorBoardWriter(folder / "file/board", 1); });
}

// The test's reader notices every byte that is not what the writer wrote.
TEST(TensorBoard, IsCheckedByAReaderThatSeesEveryChangedByte) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 1);
  writer.scalar("loss", 1, 1.0);
  const std::string file = read_text(writer.file());
  EXPECT_EQ(records(file).size(), 3u);
  for (std::size_t i = 0; i < file.size(); ++i) {
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    EXPECT_THROW(records(changed), std::runtime_error) << "byte " << i;
  }
}

}  // namespace
}  // namespace convnext
