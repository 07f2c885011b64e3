// tar archives: members found without reading their bytes, and written so that equal members give equal archives.
//
// Read are POSIX ustar and pax (IEEE 1003.1, pax "Interchange Format") and GNU tar's long names and large sizes;
// written is ustar. The format is spelled out here because training reads a member by its offset in the file, which
// libarchive does not tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/file.h"

namespace convnext {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0;  // of its first byte in the archive
  std::uint64_t size = 0;    // bytes
};

class TarReader {
 public:
  // Throws Error as MappedFile::open().
  explicit TarReader(const std::filesystem::path& path) : file_(path) {}

  // The next regular file; nothing at the end. Folders, links and devices are passed over. Throws Error (kDamaged,
  // kUnsupported) with the archive and the offset: a header whose sum is wrong, a member that goes beyond the end, an
  // archive without its end or with something behind it.
  std::optional<TarMember> next();

  // A small member's bytes. Throws Error (kDamaged) when there are more than `max_bytes`.
  std::string read_text(const TarMember& member, std::size_t max_bytes) const;

 private:
  [[noreturn]] void throw_damaged(std::uint64_t offset, std::string_view what) const;
  void check_rest() const;

  FileReader file_;
  std::uint64_t at_ = 0;
};

// Writes an archive to a sink. All members are files of nobody (0:0), readable by all, of no time.
class TarWriter {
 public:
  explicit TarWriter(const ByteSink& sink) : sink_(sink) {}

  // `name` has at most 100 bytes, `bytes` less than 8 GiB: Error (kInvalidArgument) otherwise.
  void add(std::string_view name, std::span<const std::byte> bytes);
  void add(std::string_view name, std::string_view text);
  // The end of the archive. Call it once, last.
  void finish();

  // What a member of so many bytes takes up.
  static std::uint64_t member_bytes(std::uint64_t size);

 private:
  const ByteSink& sink_;
};

}  // namespace convnext
