#include "io/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <vector>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::size_t kMaxNameBytes = std::size_t{1} << 16;
constexpr std::size_t kMaxExtendedBytes = std::size_t{1} << 20;

// Byte positions in a header block.
struct Field {
  std::size_t at;
  std::size_t size;
};
constexpr Field kName = {0, 100}, kMode = {100, 8}, kUser = {108, 8}, kGroup = {116, 8}, kSize = {124, 12},
                kTime = {136, 12}, kSum = {148, 8}, kType = {156, 1}, kMagic = {257, 6}, kVersion = {263, 2},
                kDeviceMajor = {329, 8}, kDeviceMinor = {337, 8}, kPrefix = {345, 155};

using Block = std::array<char, kBlock>;

std::string_view field_of(const Block& block, Field field) { return {block.data() + field.at, field.size}; }

// Up to the first NUL.
std::string_view text_of(const Block& block, Field field) {
  const std::string_view bytes = field_of(block, field);
  return bytes.substr(0, bytes.find('\0'));
}

// Octal digits between spaces and NULs; or, of GNU, the bytes of a number whose first bit is set.
std::optional<std::uint64_t> number_of(const Block& block, Field field) {
  std::string_view bytes = field_of(block, field);
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(bytes[0]) & 0x80) != 0) {
    if (static_cast<unsigned char>(bytes[0]) != 0x80) return std::nullopt;  // negative, or far beyond 64 bits
    for (const char c : bytes.substr(1)) {
      if (value >> 56 != 0) return std::nullopt;
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  bytes = bytes.substr(std::min(bytes.find_first_not_of(' '), bytes.size()));
  bytes = bytes.substr(0, bytes.find_first_of(std::string_view(" \0", 2)));
  if (bytes.empty()) return 0;
  const auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value, 8);
  if (error != std::errc() || end != bytes.data() + bytes.size()) return std::nullopt;
  return value;
}

// The sum of the header's bytes with spaces in the sum's own place.
std::uint64_t sum_of(const Block& block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kSum.at && i < kSum.at + kSum.size;
    sum += static_cast<unsigned char>(own ? ' ' : block[i]);
  }
  return sum;
}

bool is_zero(std::span<const char> bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == 0; });
}

std::uint64_t padded(std::uint64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

// What a pax header says of the member behind it: "27 path=a/very/long/name\n".
struct ExtendedHeader {
  std::optional<std::string> path;
  std::optional<std::uint64_t> size;
  bool sparse = false;
};

// False when the records are not what they should be.
bool read_extended(std::string_view records, ExtendedHeader& header) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [digits_end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<std::size_t>(digits_end - records.data());
    if (error != std::errc() || length > records.size() || length < digits + 2 || records[digits] != ' ' ||
        records[length - 1] != '\n') {
      return false;
    }
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    records.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") header.path = value;
    if (key.starts_with("GNU.sparse")) header.sparse = true;
    if (key == "size") {
      std::uint64_t size = 0;
      const auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), size);
      if (bad != std::errc() || end != value.data() + value.size()) return false;
      header.size = size;
    }
  }
  return true;
}

void put_octal(Block& block, Field field, std::uint64_t value) {
  const std::string digits = fmt::format("{:0{}o}", value, field.size - 1);
  std::memcpy(block.data() + field.at, digits.data(), digits.size());
}

void put_text(Block& block, Field field, std::string_view text) {
  std::memcpy(block.data() + field.at, text.data(), text.size());
}

void write_zeros(const ByteSink& sink, std::uint64_t count) {
  static constexpr std::array<std::byte, 2 * kBlock> kZeros{};
  sink(std::span(kZeros).first(static_cast<std::size_t>(count)));
}

}  // namespace

void TarReader::throw_damaged(std::uint64_t offset, std::string_view what) const {
  throw Error(ErrorCode::kDamaged, fmt::format("'{}', byte {}: {}", file_.path().string(), offset, what));
}

std::optional<TarMember> TarReader::next() {
  std::optional<std::string> long_name;
  ExtendedHeader extended;
  while (true) {
    const std::uint64_t header_at = at_;
    if (file_.size() - at_ < kBlock) throw_damaged(at_, "the archive is cut off: its end is missing");
    Block block;
    file_.read(at_, std::as_writable_bytes(std::span(block)));
    if (is_zero(block)) {
      if (long_name || extended.path) throw_damaged(at_, "the archive ends after the name of a member that is missing");
      check_rest();
      return std::nullopt;
    }
    if (number_of(block, kSum) != sum_of(block))
      throw_damaged(at_, "not the header of a tar archive: its sum is wrong");
    std::optional<std::uint64_t> size = number_of(block, kSize);
    const char type = field_of(block, kType)[0];
    const bool is_description = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (extended.size && !is_description) size = extended.size;
    if (!size) throw_damaged(at_, "the size of a member is no number");
    at_ += kBlock;
    if (*size > file_.size() - at_ || padded(*size) > file_.size() - at_) {
      throw_damaged(header_at, fmt::format("the archive is cut off: a member of {} bytes goes beyond its end", *size));
    }
    TarMember member = {.name = {}, .offset = at_, .size = *size};
    at_ += padded(*size);

    if (type == 'L') {
      long_name = read_text(member, kMaxNameBytes);
      long_name->resize(std::min(long_name->find('\0'), long_name->size()));
      continue;
    }
    if (type == 'x') {
      if (!read_extended(read_text(member, kMaxExtendedBytes), extended)) {
        throw_damaged(header_at, "the extended header of a member is damaged");
      }
      continue;
    }
    if (type == 'K' || type == 'g') continue;  // a link's target; what holds for all members, which no name does
    if (type == 'S' || extended.sparse) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("'{}', byte {}: sparse members are not read: write the archive without --sparse",
                              file_.path().string(), header_at));
    }
    const bool is_file = type == '0' || type == '\0' || type == '7';
    if (!is_file) {
      long_name.reset();
      extended = {};
      continue;
    }
    if (extended.path) {
      member.name = std::move(*extended.path);
    } else if (long_name) {
      member.name = std::move(*long_name);
    } else {
      member.name = text_of(block, kName);
      const bool has_prefix = field_of(block, kMagic) == std::string_view("ustar\0", 6);
      if (const std::string_view prefix = text_of(block, kPrefix); has_prefix && !prefix.empty()) {
        member.name = fmt::format("{}/{}", prefix, member.name);
      }
    }
    if (member.name.ends_with('/')) {  // a folder of the time before types
      long_name.reset();
      extended = {};
      continue;
    }
    return member;
  }
}

// What is behind the end would be left out silently: an archive with a hole, or one appended to another.
void TarReader::check_rest() const {
  std::vector<char> bytes(std::size_t{1} << 16);
  for (std::uint64_t at = at_; at < file_.size(); at += bytes.size()) {
    bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), file_.size() - at)));
    file_.read(at, std::as_writable_bytes(std::span(bytes)));
    if (!is_zero(bytes)) {
      throw_damaged(at_,
                    "the archive ends here, and yet there is more behind it: it has a hole, or two archives were "
                    "joined");
    }
  }
}

std::string TarReader::read_text(const TarMember& member, std::size_t max_bytes) const {
  if (member.size > max_bytes) {
    throw_damaged(member.offset,
                  fmt::format("'{}' has {} bytes, more than the {} expected", member.name, member.size, max_bytes));
  }
  std::string text(static_cast<std::size_t>(member.size), '\0');
  file_.read(member.offset, std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

void TarWriter::add(std::string_view name, std::span<const std::byte> bytes) {
  constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << 33) - 1;  // 11 octal digits
  if (name.empty() || name.size() > kName.size || bytes.size() > kMostBytes) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot put '{}' of {} bytes into a tar archive", name, bytes.size()));
  }
  Block block{};
  put_text(block, kName, name);
  put_octal(block, kMode, 0644);
  for (const Field field : {kUser, kGroup, kTime, kDeviceMajor, kDeviceMinor}) put_octal(block, field, 0);
  put_octal(block, kSize, bytes.size());
  put_text(block, kType, "0");
  put_text(block, kMagic, "ustar");
  put_text(block, kVersion, "00");
  put_octal(block, {kSum.at, kSum.size - 1}, sum_of(block));  // six digits, NUL, space
  put_text(block, {kSum.at + kSum.size - 1, 1}, " ");
  sink_(std::as_bytes(std::span(block)));
  sink_(bytes);
  write_zeros(sink_, padded(bytes.size()) - bytes.size());
}

void TarWriter::add(std::string_view name, std::string_view text) {
  add(name, std::as_bytes(std::span(text.data(), text.size())));
}

void TarWriter::finish() { write_zeros(sink_, 2 * kBlock); }

std::uint64_t TarWriter::member_bytes(std::uint64_t size) { return kBlock + padded(size); }

}  // namespace convnext
