#include "train/tensorboard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <concepts>

#include "convnext/error.h"
#include "io/picture.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kNamePrefix = "events.out.tfevents.";

template <std::unsigned_integral Integer>
std::string little_endian(Integer value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

// The protobuf wire format: a field is a key, (number << 3 | type), and a value of that type.

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  bytes += static_cast<char>(value);
  return bytes;
}

std::string integer_field(unsigned number, std::int64_t value) {
  return varint(number << 3 | 0u) + varint(static_cast<std::uint64_t>(value));
}
std::string double_field(unsigned number, double value) {
  return varint(number << 3 | 1u) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string float_field(unsigned number, float value) {
  return varint(number << 3 | 5u) + little_endian(std::bit_cast<std::uint32_t>(value));
}
// A string, or a message within a message.
std::string bytes_field(unsigned number, std::string_view bytes) {
  return varint(number << 3 | 2u) + varint(bytes.size()) + std::string(bytes);
}

// CRC-32C (Castagnoli), which TFRecords are checked with.
constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = table[i] >> 1 ^ (table[i] % 2 == 0 ? 0 : 0x82f63b78u);
  }
  return table;
}();

// Masked, since the CRC of bytes that hold a CRC tells little (tensorflow/core/lib/hash/crc32c.h).
std::uint32_t masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

// Event.summary of one value.
std::string summary(std::string_view tag, std::string_view value) {
  return bytes_field(5, bytes_field(1, bytes_field(1, tag) + std::string(value)));
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// TensorBoard reads the files of a folder in the order of their names: the time, or where a clock went back or two
// sessions began within a second, one more than that of the newest file.
fs::path next_file(const fs::path& folder) {
  auto number = static_cast<std::int64_t>(seconds_since_1970());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kNamePrefix)) continue;
    std::int64_t other = 0;
    std::from_chars(name.data() + kNamePrefix.size(), name.data() + name.size(), other);
    constexpr std::int64_t kLast = 9'999'999'998;  // names of ten digits sort by their number
    number = std::max(number, std::min(other, kLast) + 1);
  }
  return folder / fmt::format("{}{:010}.convnext", kNamePrefix, number);
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const fs::path& folder, std::int64_t first_step) {
  try {
    fs::create_directories(folder);
    path_ = next_file(folder);
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot write to '{}': {}", folder.string(), error.code().message()));
  }
  out_.open(path_, std::ios::binary | std::ios::trunc);
  write_event(0, bytes_field(3, "brain.Event:2"));  // file_version: with it, a session's start drops later steps
  constexpr int kStart = 1;                         // SessionLog.SessionStatus
  write_event(first_step, bytes_field(7, integer_field(1, kStart)));
}

void TensorBoardWriter::scalar(std::string_view tag, std::int64_t step, double value) {
  write_event(step, summary(tag, float_field(2, static_cast<float>(value))));
}

void TensorBoardWriter::text(std::string_view tag, std::int64_t step, std::string_view markdown) {
  constexpr int kString = 7;                                                          // DataType.DT_STRING
  const std::string plugin = bytes_field(9, bytes_field(1, bytes_field(1, "text")));  // SummaryMetadata.plugin_data
  const std::string tensor = bytes_field(8, integer_field(1, kString) + bytes_field(2, "") + bytes_field(8, markdown));
  write_event(step, summary(tag, plugin + tensor));
}

void TensorBoardWriter::image(std::string_view tag, std::int64_t step, const Image& image) {
  constexpr int kRgb = 3;  // colour channels
  const std::string value = integer_field(1, image.height) + integer_field(2, image.width) + integer_field(3, kRgb) +
                            bytes_field(4, encode_png(image));
  write_event(step, summary(tag, bytes_field(4, value)));
}

void TensorBoardWriter::write_event(std::int64_t step, std::string_view what) {
  write_record(double_field(1, seconds_since_1970()) + integer_field(2, step) + std::string(what));
}

void TensorBoardWriter::write_record(std::string_view bytes) {
  const std::string length = little_endian(std::uint64_t{bytes.size()});
  out_ << length << little_endian(masked_crc(length)) << bytes << little_endian(masked_crc(bytes)) << std::flush;
  if (!out_) throw Error(ErrorCode::kIo, fmt::format("cannot write to '{}'", path_.string()));
}

}  // namespace convnext
