// Files as the rest of the program wants them: mapped for reading, and written whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace convnext {

// The bytes of a regular file, mapped read-only; they stay valid while any copy of this object lives.
class MappedFile {
 public:
  // Throws Error: kNotFound, kIo, or kInvalidArgument for a folder. An empty file gives an empty span.
  static MappedFile open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  // Keeps the mapping alive where only the bytes are passed on.
  std::shared_ptr<const void> owner() const { return owner_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

// Gives the memory of `bytes`, and of what lies close to them, back to the system when they are part of the mapping
// that `owner` (MappedFile::owner()) keeps alive: whoever reads them again has them from the file again. Any thread may
// be reading them meanwhile. Of other memory nothing happens.
void release_pages(const std::shared_ptr<const void>& owner, std::span<const std::byte> bytes);

// A regular file that is read here and there, from any thread. Unlike a mapping, a file that shrinks or a disk that
// fails while it is read is an Error.
class FileReader {
 public:
  // Throws Error as MappedFile::open().
  explicit FileReader(const std::filesystem::path& path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Fills `out` with the bytes from `offset` on. Throws Error: kDamaged where the file ends before, kIo.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

// Reads a whole file. Throws Error when it is larger than `max_bytes`, before reading it.
std::string read_text(const std::filesystem::path& path, std::size_t max_bytes = 64 << 20);

// Writes all bytes to an open file, which `path` names in messages. Throws Error (kIo).
void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path);

// Calls `write` with a sink for bytes; they go to a new file beside `path`, which takes its name only once everything
// is on the disk. When anything throws, `path` is as it was and nothing is left behind.
using ByteSink = std::function<void(std::span<const std::byte>)>;
void write_file_atomically(const std::filesystem::path& path, const std::function<void(const ByteSink&)>& write);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// The unfinished files of write_file_atomically() in a folder: being written now, or left by a process that was killed.
std::vector<std::filesystem::path> partial_files(const std::filesystem::path& folder);

}  // namespace convnext
