// zip archives (PKWARE APPNOTE 6.3), as PyTorch writes and reads them: members stored or deflated, sizes beyond 4 GB,
// and in the archives that we write every member's bytes aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "io/file.h"

namespace convnext {

struct ZipMember {
  std::string name;
  std::uint64_t size = 0;  // bytes, when unpacked
  bool stored = false;     // the archive holds the very bytes
};

// Bytes and what keeps them alive.
struct ZipBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

class ZipArchive {
 public:
  // Reads the directory. Throws Error: kDamaged with the member, kUnsupported for encryption, a packing other than
  // deflate, or members that would unpack to more than the ratio of the limits.
  explicit ZipArchive(const MappedFile& file, const FileLimits& limits = {});
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  const std::vector<ZipMember>& members() const { return members_; }
  // Of all deflated members.
  std::uint64_t unpacked_bytes() const { return unpacked_bytes_; }
  // Null where there is none of this name.
  const ZipMember* find(std::string_view name) const;

  // A stored member is a view of the mapped file; of a deflated one the checksum is compared. Throws Error (kDamaged).
  ZipBytes read(const ZipMember& member) const;
  // Throws Error (kDamaged) when the bytes of a member are not those that its checksum was made of. Checking costs a
  // second for 1 GB, and writers may leave the checksum out; then this does nothing.
  void check(const ZipMember& member, std::span<const std::byte> bytes) const;

 private:
  struct Place;  // of a member in the archive
  struct Reader;
  [[noreturn]] void throw_damaged(std::string_view what) const;
  void read_directory(const FileLimits& limits);
  // Adds the member whose entry of the directory begins at byte `at`, and gives the byte where the next one does.
  std::uint64_t read_member(std::uint64_t at, std::uint64_t directory_end);
  // Sizes and places beyond 32 bits, from the entry's extra fields between these bytes.
  void read_large_numbers(std::uint64_t begin, std::uint64_t end, ZipMember& member, Place& place) const;
  void check_size(const ZipMember& member, const Place& place) const;
  void count_unpacked(const FileLimits& limits);
  void sort_names();
  std::size_t index_of(const ZipMember& member) const;

  MappedFile file_;
  std::unique_ptr<Reader> reader_;
  std::vector<ZipMember> members_;  // in the order of the directory
  std::vector<Place> places_;
  std::uint64_t unpacked_bytes_ = 0;
  std::vector<std::size_t> by_name_;  // indices of members_, sorted by name
};

// Writes an archive to a sink: members stored, of no time, their bytes aligned to 64 in the archive.
class ZipWriter {
 public:
  explicit ZipWriter(const ByteSink& sink) : sink_(sink) {}

  // `name` has at most 65,000 bytes and was not added before.
  void add(std::string_view name, std::span<const std::byte> bytes);
  void add(std::string_view name, std::string_view text);
  // The directory. Call it once, last.
  void finish();

 private:
  void write(std::span<const std::byte> bytes);

  const ByteSink& sink_;
  std::uint64_t at_ = 0;
  std::string directory_;
  std::uint64_t members_ = 0;
};

}  // namespace convnext
