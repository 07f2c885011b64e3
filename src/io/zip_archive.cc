#include "io/zip_archive.h"

#include <fmt/format.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/bytes.h"
#include "io/file_limits.h"
#include "io/quoted.h"

namespace convnext {
namespace {

// Records by their signatures and the bytes that all of a kind have (APPNOTE 4.3).
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint32_t kDirectorySignature = 0x02014b50;
constexpr std::uint64_t kDirectoryBytes = 46;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint32_t kLargeLocatorSignature = 0x07064b50;
constexpr std::uint64_t kLargeLocatorBytes = 20;
constexpr std::uint32_t kLargeEndSignature = 0x06064b50;
constexpr std::uint64_t kLargeEndBytes = 56;

constexpr std::uint16_t kLargeField = 1;                 // the extra field with 64-bit sizes
constexpr std::uint16_t kPaddingField = 'F' | 'B' << 8;  // the one that PyTorch aligns with
constexpr std::uint32_t kInLargeField = 0xffffffff;      // stands where 32 bits do not suffice
constexpr std::uint64_t kMaxComment = 0xffff;
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kMaxName = 65'000;

// What deflate can make of bytes at most: 258 of two bits, and a little for the last.
constexpr std::uint64_t kMostOfAPackedByte = 1032;
constexpr std::uint64_t kMostOfNothing = 64;

bool has_signature(std::span<const std::byte> bytes, std::uint64_t at, std::uint32_t signature, std::uint64_t size) {
  return at <= bytes.size() && bytes.size() - at >= size && little_endian(bytes, at, 4) == signature;
}

struct Directory {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t members = 0;
};

// Nothing where the archive has no end.
std::optional<Directory> find_directory(std::span<const std::byte> bytes) {
  if (bytes.size() < kEndBytes) return std::nullopt;
  const std::uint64_t last = bytes.size() - kEndBytes;
  const std::uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (std::uint64_t at = last + 1; at-- > first;) {
    if (!has_signature(bytes, at, kEndSignature, kEndBytes)) continue;
    if (at + kEndBytes + little_endian(bytes, at + 20, 2) != bytes.size()) continue;
    Directory directory{little_endian(bytes, at + 16, 4), 0, little_endian(bytes, at + 10, 2)};
    std::uint64_t size = little_endian(bytes, at + 12, 4);
    if (at >= kLargeLocatorBytes &&
        has_signature(bytes, at - kLargeLocatorBytes, kLargeLocatorSignature, kLargeLocatorBytes)) {
      const std::uint64_t large = little_endian(bytes, at - kLargeLocatorBytes + 8, 8);
      if (!has_signature(bytes, large, kLargeEndSignature, kLargeEndBytes)) return std::nullopt;
      directory.members = little_endian(bytes, large + 32, 8);
      size = little_endian(bytes, large + 40, 8);
      directory.begin = little_endian(bytes, large + 48, 8);
    }
    if (directory.begin > at || size > at - directory.begin) return std::nullopt;
    directory.end = directory.begin + size;
    return directory;
  }
  return std::nullopt;
}

}  // namespace

struct ZipArchive::Place {
  std::uint64_t packed = 0;  // bytes in the archive
  std::uint64_t offset = 0;  // of the member's local header
  std::uint32_t checksum = 0;
};

// libzip's side: it unpacks, and compares checksums.
struct ZipArchive::Reader {
  zip_t* archive = nullptr;
  ~Reader() {
    if (archive) zip_discard(archive);
  }
};

ZipArchive::ZipArchive(const MappedFile& file, const FileLimits& limits)
    : file_(file), reader_(std::make_unique<Reader>()) {
  read_directory(limits);

  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* const source = zip_source_buffer_create(file_.bytes().data(), file_.bytes().size(), 0, &error);
  if (source) reader_->archive = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (!reader_->archive) {
    if (source) zip_source_free(source);
    const std::string text = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw_damaged(text);
  }
  zip_error_fini(&error);

  // Two readers that understand an archive differently are how a hostile one hides what it holds.
  const zip_int64_t count = zip_get_num_entries(reader_->archive, 0);
  if (std::cmp_not_equal(count, members_.size())) {
    throw_damaged(fmt::format("it has {} or {} members, as one reads it", members_.size(), count));
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const ZipMember& member = members_[i];
    zip_stat_t status;
    if (zip_stat_index(reader_->archive, i, ZIP_FL_ENC_RAW, &status) != 0) {
      throw_damaged(fmt::format("member {}: {}", in_quotes(member.name), zip_strerror(reader_->archive)));
    }
    if (status.name != member.name || status.size != member.size || status.comp_size != places_[i].packed) {
      throw_damaged(fmt::format("its directory contradicts itself at member {}", in_quotes(member.name)));
    }
    if (status.encryption_method != ZIP_EM_NONE) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("'{}': member {} is encrypted", file_.path().string(), in_quotes(member.name)));
    }
    if (status.comp_method != ZIP_CM_STORE && status.comp_method != ZIP_CM_DEFLATE) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("'{}': member {} is packed by method {}; only stored and deflated members are read",
                              file_.path().string(), in_quotes(member.name), status.comp_method));
    }
  }
}

ZipArchive::~ZipArchive() = default;

void ZipArchive::throw_damaged(std::string_view what) const {
  throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole zip archive: {}", file_.path().string(), what));
}

void ZipArchive::read_directory(const FileLimits& limits) {
  const std::optional<Directory> directory = find_directory(file_.bytes());
  if (!directory) throw_damaged("it has no directory at its end; was the download cut short?");
  std::uint64_t at = directory->begin;
  while (at < directory->end) at = read_member(at, directory->end);
  if (members_.size() != directory->members) {
    throw_damaged(fmt::format("its directory has {} members in place of {}", members_.size(), directory->members));
  }
  count_unpacked(limits);
  sort_names();
}

std::uint64_t ZipArchive::read_member(std::uint64_t at, std::uint64_t directory_end) {
  const std::span<const std::byte> bytes = file_.bytes();
  if (!has_signature(bytes.first(directory_end), at, kDirectorySignature, kDirectoryBytes)) {
    throw_damaged(fmt::format("its directory is damaged at byte {}", at));
  }
  const std::uint64_t name_bytes = little_endian(bytes, at + 28, 2);
  const std::uint64_t extra_bytes = little_endian(bytes, at + 30, 2);
  const std::uint64_t comment_bytes = little_endian(bytes, at + 32, 2);
  if (directory_end - at - kDirectoryBytes < name_bytes + extra_bytes + comment_bytes) {
    throw_damaged(fmt::format("its directory is cut short at byte {}", at));
  }
  ZipMember member;
  member.name = text_of(bytes.subspan(at + kDirectoryBytes, name_bytes));
  member.size = little_endian(bytes, at + 24, 4);
  member.stored = little_endian(bytes, at + 10, 2) == ZIP_CM_STORE;
  Place place{little_endian(bytes, at + 20, 4), little_endian(bytes, at + 42, 4),
              static_cast<std::uint32_t>(little_endian(bytes, at + 16, 4))};
  const std::uint64_t extra_begin = at + kDirectoryBytes + name_bytes;
  read_large_numbers(extra_begin, extra_begin + extra_bytes, member, place);
  check_size(member, place);
  members_.push_back(std::move(member));
  places_.push_back(place);
  return extra_begin + extra_bytes + comment_bytes;
}

void ZipArchive::read_large_numbers(std::uint64_t begin, std::uint64_t end, ZipMember& member, Place& place) const {
  constexpr std::uint64_t kHead = 4;  // kind and size of a field
  const std::span<const std::byte> bytes = file_.bytes();
  while (end - begin >= kHead) {
    std::uint64_t left = little_endian(bytes, begin + 2, 2);
    const std::uint64_t next = begin + kHead + left;
    if (next > end) throw_damaged(fmt::format("an extra field is cut short at byte {}", begin));
    if (little_endian(bytes, begin, 2) == kLargeField) {
      // It has only those numbers that did not fit, in this order.
      std::uint64_t number = begin + kHead;
      for (std::uint64_t* value : {&member.size, &place.packed, &place.offset}) {
        if (*value != kInLargeField || left < 8) continue;
        *value = little_endian(bytes, number, 8);
        number += 8;
        left -= 8;
      }
    }
    begin = next;
  }
}

void ZipArchive::check_size(const ZipMember& member, const Place& place) const {
  const std::uint64_t archive_bytes = file_.bytes().size();
  if (place.packed > archive_bytes || place.offset > archive_bytes) {
    throw_damaged(fmt::format("member {} lies behind its end", in_quotes(member.name)));
  }
  if (member.stored && member.size != place.packed) {
    throw_damaged(fmt::format("the stored member {} has {} bytes in place of {}", in_quotes(member.name), place.packed,
                              member.size));
  }
  if (!member.stored && member.size > kMostOfAPackedByte * place.packed + kMostOfNothing) {
    throw_damaged(fmt::format("member {} has {} bytes, which deflate cannot unpack to {}", in_quotes(member.name),
                              place.packed, member.size));
  }
}

void ZipArchive::count_unpacked(const FileLimits& limits) {
  constexpr std::uint64_t kAlways = 1 << 20;
  const std::uint64_t archive_bytes = file_.bytes().size();
  const std::uint64_t most = kAlways + static_cast<std::uint64_t>(limits.max_zip_ratio) * archive_bytes;
  for (const ZipMember& member : members_) {
    if (member.stored) continue;
    unpacked_bytes_ += member.size;
    if (unpacked_bytes_ <= most) continue;
    throw_beyond_limit(fmt::format("'{}', {}", file_.path().string(), in_quotes(member.name)),
                       fmt::format("with it the archive of {} bytes unpacks to {}, {:.1f} times as many",
                                   format_count(static_cast<std::int64_t>(archive_bytes)),
                                   format_count(static_cast<std::int64_t>(unpacked_bytes_)),
                                   static_cast<double>(unpacked_bytes_) / static_cast<double>(archive_bytes)),
                       limits, &FileLimits::max_zip_ratio);
  }
}

void ZipArchive::sort_names() {
  by_name_.resize(members_.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::sort(by_name_.begin(), by_name_.end(),
            [this](std::size_t a, std::size_t b) { return members_[a].name < members_[b].name; });
  for (std::size_t i = 1; i < by_name_.size(); ++i) {
    const std::string& name = members_[by_name_[i]].name;
    if (name == members_[by_name_[i - 1]].name) throw_damaged(fmt::format("member {} stands twice", in_quotes(name)));
  }
}

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto found = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                      [this](std::size_t i, std::string_view key) { return members_[i].name < key; });
  return found == by_name_.end() || members_[*found].name != name ? nullptr : &members_[*found];
}

std::size_t ZipArchive::index_of(const ZipMember& member) const {
  return static_cast<std::size_t>(&member - members_.data());
}

ZipBytes ZipArchive::read(const ZipMember& member) const {
  const std::span<const std::byte> bytes = file_.bytes();
  const Place& place = places_[index_of(member)];
  const std::string name = in_quotes(member.name);
  if (member.stored) {
    if (!has_signature(bytes, place.offset, kLocalSignature, kLocalBytes)) {
      throw_damaged(fmt::format("member {} does not begin at byte {}", name, place.offset));
    }
    const std::uint64_t name_bytes = little_endian(bytes, place.offset + 26, 2);
    const std::uint64_t begin = place.offset + kLocalBytes + name_bytes + little_endian(bytes, place.offset + 28, 2);
    if (begin > bytes.size() || place.packed > bytes.size() - begin) {
      throw_damaged(fmt::format("member {} ends behind the archive; was the download cut short?", name));
    }
    const std::string_view local_name = text_of(bytes.subspan(place.offset + kLocalBytes, name_bytes));
    if (local_name != member.name) {
      throw_damaged(fmt::format("member {} is called {} where it begins", name, in_quotes(local_name)));
    }
    return {bytes.subspan(begin, place.packed), file_.owner()};
  }

  const auto failed = [&](std::string_view why) { throw_damaged(fmt::format("member {}: {}", name, why)); };
  zip_file_t* const opened = zip_fopen_index(reader_->archive, index_of(member), 0);
  if (!opened) failed(zip_strerror(reader_->archive));
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> source(opened, zip_fclose);
  const auto unpacked = std::make_shared<std::vector<std::byte>>(member.size);
  std::uint64_t at = 0;
  while (at < member.size) {
    const zip_int64_t count = zip_fread(opened, unpacked->data() + at, member.size - at);
    if (count < 0) failed(zip_file_strerror(opened));
    if (count == 0) failed(fmt::format("it ends after {} bytes in place of {}", at, member.size));
    at += static_cast<std::uint64_t>(count);
  }
  // The end is where libzip compares the checksum.
  std::byte more{};
  const zip_int64_t count = zip_fread(opened, &more, 1);
  if (count < 0) failed(zip_file_strerror(opened));
  if (count > 0) failed(fmt::format("it unpacks to more than the {} bytes that the directory promises", member.size));
  return {*unpacked, unpacked};
}

void ZipArchive::check(const ZipMember& member, std::span<const std::byte> bytes) const {
  const std::uint32_t promised = places_[index_of(member)].checksum;
  if (promised == 0) return;
  const auto checksum = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  if (checksum != promised) {
    throw_damaged(fmt::format("member {} has the checksum {:08x} in place of {:08x}", in_quotes(member.name), checksum,
                              promised));
  }
}

void ZipWriter::add(std::string_view name, std::span<const std::byte> bytes) {
  if (name.size() > kMaxName) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("a zip archive cannot hold the name {}", in_quotes(name)));
  }
  const std::uint64_t size = bytes.size();
  const std::uint64_t offset = at_;
  const bool large_size = size >= kInLargeField;
  const bool large_offset = offset >= kInLargeField;
  const std::uint32_t checksum =
      static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));

  // What the local header and the directory share: flags of UTF-8 names, the packing, and 1980-01-01 as no time.
  std::string shared;
  append_little_endian(shared, 0x0800, 2);
  append_little_endian(shared, ZIP_CM_STORE, 2);
  append_little_endian(shared, 0, 2);
  append_little_endian(shared, 0x0021, 2);
  append_little_endian(shared, checksum, 4);
  for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(shared, large_size ? kInLargeField : size, 4);
  append_little_endian(shared, name.size(), 2);

  std::string extra;
  if (large_size) {
    append_little_endian(extra, kLargeField, 2);
    append_little_endian(extra, 16, 2);
    for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(extra, size, 8);
  }
  constexpr std::uint64_t kFieldHead = 4;
  const std::uint64_t head = offset + kLocalBytes + name.size() + extra.size() + kFieldHead;
  const std::uint64_t padding = (kAlignment - head % kAlignment) % kAlignment;
  append_little_endian(extra, kPaddingField, 2);
  append_little_endian(extra, padding, 2);
  extra.append(padding, 'Z');

  std::string local;
  append_little_endian(local, kLocalSignature, 4);
  append_little_endian(local, large_size ? 45 : 20, 2);  // the version of the format that is needed to read it
  local += shared;
  append_little_endian(local, extra.size(), 2);
  local += name;
  local += extra;
  write(bytes_of(local));
  write(bytes);

  std::string large;
  if (large_size || large_offset) {
    append_little_endian(large, kLargeField, 2);
    append_little_endian(large, (large_size ? 16u : 0u) + (large_offset ? 8u : 0u), 2);
    for (int repeat = 0; repeat < 2 && large_size; ++repeat) append_little_endian(large, size, 8);
    if (large_offset) append_little_endian(large, offset, 8);
  }
  append_little_endian(directory_, kDirectorySignature, 4);
  for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(directory_, large_size || large_offset ? 45 : 20, 2);
  directory_ += shared;
  append_little_endian(directory_, large.size(), 2);
  directory_.append(2 + 2 + 2 + 4, '\0');  // no comment, on the first disk, no attributes
  append_little_endian(directory_, large_offset ? kInLargeField : offset, 4);
  directory_ += name;
  directory_ += large;
  ++members_;
}

void ZipWriter::add(std::string_view name, std::string_view text) { add(name, bytes_of(text)); }

void ZipWriter::finish() {
  const std::uint64_t begin = at_;
  const std::uint64_t size = directory_.size();
  std::string end = std::move(directory_);
  const bool large = begin >= kInLargeField || size >= kInLargeField || members_ >= 0xffff;
  if (large) {
    const std::uint64_t large_end = begin + size;
    append_little_endian(end, kLargeEndSignature, 4);
    append_little_endian(end, kLargeEndBytes - 12, 8);
    append_little_endian(end, 45, 2);
    append_little_endian(end, 45, 2);
    append_little_endian(end, 0, 4 + 4);
    for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(end, members_, 8);
    append_little_endian(end, size, 8);
    append_little_endian(end, begin, 8);
    append_little_endian(end, kLargeLocatorSignature, 4);
    append_little_endian(end, 0, 4);
    append_little_endian(end, large_end, 8);
    append_little_endian(end, 1, 4);
  }
  append_little_endian(end, kEndSignature, 4);
  append_little_endian(end, 0, 2 + 2);
  for (int repeat = 0; repeat < 2; ++repeat) append_little_endian(end, large ? 0xffff : members_, 2);
  append_little_endian(end, large ? kInLargeField : size, 4);
  append_little_endian(end, large ? kInLargeField : begin, 4);
  append_little_endian(end, 0, 2);
  write(bytes_of(end));
}

void ZipWriter::write(std::span<const std::byte> bytes) {
  sink_(bytes);
  at_ += bytes.size();
}

}  // namespace convnext
