#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "convnext/error.h"

namespace convnext {
namespace {

// Reading one page of a file maps the others of its window too (fault-around).
constexpr std::uintptr_t kWindow = std::uintptr_t{1} << 16;
constexpr std::string_view kPartialPrefix = ".convnext-";
constexpr std::string_view kPartialSuffix = ".part";

namespace fs = std::filesystem;

[[noreturn]] void throw_system_error(std::string_view verb, const fs::path& path, int error) {
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  throw Error(code, fmt::format("cannot {} '{}': {}", verb, path.string(), std::generic_category().message(error)));
}

// Ends a mapping; by this type release_pages() knows one.
struct Unmap {
  std::size_t size;
  void operator()(void* start) const { munmap(start, size); }
};

// An open file, closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  // Some file systems report a failed write only here.
  int close() { return fd_ >= 0 ? ::close(std::exchange(fd_, -1)) : 0; }

 private:
  int fd_;
};

int open_again(const fs::path& path, int flags, mode_t mode = 0) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

struct stat status_of(const Descriptor& file, const fs::path& path) {
  struct stat status {};
  if (fstat(file.get(), &status) != 0) throw_system_error("read", path, errno);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot read '{}': it is a folder", path.string()));
  }
  return status;
}

struct stat status_of_regular(const Descriptor& file, const fs::path& path) {
  const struct stat status = status_of(file, path);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot read '{}': it is not a regular file", path.string()));
  }
  return status;
}

int open_for_reading(const fs::path& path) {
  // Without O_NONBLOCK the opening of a pipe would wait for somebody to write to it.
  const int fd = open_again(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) throw_system_error("read", path, errno);
  return fd;
}

// A new file beside `target`; removed again unless it was moved there.
class PartialFile {
 public:
  explicit PartialFile(const fs::path& target) : target_(target), fd_(create()) {}
  ~PartialFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  void write(std::span<const std::byte> bytes) { write_all(fd_.get(), bytes, target_); }

  void move_to_target() {
    if (fsync(fd_.get()) != 0) throw_system_error("write", target_, errno);
    if (fd_.close() != 0) throw_system_error("write", target_, errno);
    if (std::rename(path_.c_str(), target_.c_str()) != 0) throw_system_error("write", target_, errno);
    path_.clear();
    // The name is in place for every reader from here on. That it survives a power cut is the folder's fsync, which
    // some file systems do not offer: its failure is no reason to call the write failed.
    const Descriptor folder(open_again(folder_of_target(), O_RDONLY | O_DIRECTORY));
    if (folder.get() >= 0) fsync(folder.get());
  }

 private:
  fs::path folder_of_target() const { return target_.has_parent_path() ? target_.parent_path() : fs::path("."); }

  int create() {
    constexpr int kAttempts = 10'000;  // other threads of this process, and what a killed one has left
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      fs::path candidate =
          folder_of_target() / fmt::format("{}{}-{}{}", kPartialPrefix, getpid(), attempt, kPartialSuffix);
      const int fd = open_again(candidate, O_WRONLY | O_CREAT | O_EXCL, 0666);
      if (fd >= 0) {
        path_ = std::move(candidate);
        return fd;
      }
      if (errno == ENOENT) {
        throw Error(ErrorCode::kNotFound, fmt::format("cannot write '{}': there is no folder '{}'", target_.string(),
                                                      folder_of_target().string()));
      }
      if (errno != EEXIST) throw_system_error("write", target_, errno);
    }
    throw_system_error("write", target_, EEXIST);
  }

  const fs::path target_;
  fs::path path_;  // empty once it has moved
  Descriptor fd_;
};

// Where a file written under this name goes: links are followed, so that they stay links.
fs::path resolve_target(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot write '{}': it is a folder", path.string()));
  }
  if (path.filename().empty()) throw_system_error("write", path, ENOENT);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("cannot write '{}': it is not a regular file, and would be replaced by one", path.string()));
  }
  if (fs::is_symlink(fs::symlink_status(path, error)) && fs::exists(status)) {
    fs::path resolved = fs::canonical(path, error);
    if (!error) return resolved;
  }
  return path;
}

}  // namespace

MappedFile MappedFile::open(const fs::path& path) {
  const Descriptor file(open_for_reading(path));
  const struct stat status = status_of_regular(file, path);
  MappedFile mapped;
  mapped.path_ = path;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return mapped;  // mmap() refuses a length of 0
  void* const data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) throw_system_error("read", path, errno);
  mapped.owner_ = std::shared_ptr<const void>(data, Unmap{size});
  mapped.bytes_ = {static_cast<const std::byte*>(data), size};
  return mapped;
}

void release_pages(const std::shared_ptr<const void>& owner, std::span<const std::byte> bytes) {
  const Unmap* mapping = std::get_deleter<Unmap>(owner);
  if (mapping == nullptr || bytes.empty()) return;
  const auto start = reinterpret_cast<std::uintptr_t>(owner.get());
  const std::uintptr_t end = start + mapping->size;
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  if (first < start || first >= end) return;
  // Neighbours in the windows at both ends are given back with it, or each tensor would leave a part of them behind.
  const std::uintptr_t from = std::max(start, first / kWindow * kWindow);
  const std::uintptr_t to = std::min(end, (first + bytes.size() + kWindow - 1) / kWindow * kWindow);
  madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);  // when it fails, memory is all that is lost
}

FileReader::FileReader(const fs::path& path) : path_(path) {
  Descriptor file(open_for_reading(path));
  size_ = static_cast<std::uint64_t>(status_of_regular(file, path).st_size);
  descriptor_ = file.release();
}

FileReader::~FileReader() { ::close(descriptor_); }

void FileReader::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error("read", path_, errno);
    if (count == 0) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("'{}' ends at byte {}, where {} more were expected", path_.string(), offset, out.size()));
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::string read_text(const fs::path& path, std::size_t max_bytes) {
  const Descriptor file(open_again(path, O_RDONLY));
  if (file.get() < 0) throw_system_error("read", path, errno);
  const struct stat status = status_of(file, path);
  const auto refuse = [&] {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot read '{}': it is larger than {} bytes", path.string(), max_bytes));
  };
  if (static_cast<std::uintmax_t>(status.st_size) > max_bytes) refuse();
  // Pipes and the files of /proc do not tell their size, so the end is where read() says it is.
  std::string text;
  constexpr std::size_t kStep = std::size_t{1} << 16;
  std::size_t size = 0;
  while (true) {
    if (size == text.size()) text.resize(std::max(size + kStep, static_cast<std::size_t>(status.st_size) + 1));
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error("read", path, errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
    if (size > max_bytes) refuse();
  }
  text.resize(size);
  return text;
}

void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    // The kernel takes at most 2 GB at a time.
    const ssize_t written = ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw_system_error("write", path, written < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void write_file_atomically(const fs::path& path, const std::function<void(const ByteSink&)>& write) {
  PartialFile file(resolve_target(path));
  write([&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.move_to_target();
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_file_atomically(path, [&](const ByteSink& sink) { sink(std::as_bytes(std::span(text.data(), text.size()))); });
}

std::vector<fs::path> partial_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    const std::string name = file->path().filename().string();
    if (name.starts_with(kPartialPrefix) && name.ends_with(kPartialSuffix)) files.push_back(file->path());
  }
  return files;
}

}  // namespace convnext
