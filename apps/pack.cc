// convnext-train pack: labelled pictures into shards.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "io/shards.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

struct PackOptions {
  std::string data;
  std::string output;
  std::uint64_t shard_bytes = ShardOptions().max_bytes;
  std::int64_t pictures_a_shard = 0;
  std::uint64_t seed = 0;
  bool json = false;
};

// A folder that is filled under another name, and takes its own only when all is there.
class PartialFolder {
 public:
  explicit PartialFolder(const fs::path& target) : target_(target) {
    std::error_code error, ignored;
    if (fs::exists(fs::symlink_status(target, ignored)) && (!fs::is_empty(target, error) || error)) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("cannot write shards to '{}': it is there already; name a new folder", target.string()));
    }
    if (target.has_parent_path()) fs::create_directories(target.parent_path(), error);
    std::string name = target.string() + ".part-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(ErrorCode::kIo,
                  fmt::format("cannot write '{}': {}", target.string(), std::generic_category().message(errno)));
    }
    path_ = name;
  }
  ~PartialFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const fs::path& path() const { return path_; }

  void move_to_target() {
    std::error_code error;
    // mkdtemp() made it for its owner alone.
    fs::permissions(path_,
                    fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec,
                    fs::perm_options::add, error);
    fs::rename(path_, target_, error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("cannot write '{}': {}", target_.string(), error.message()));
    }
    path_.clear();
  }

 private:
  fs::path target_;
  fs::path path_;  // empty once it has moved
};

// A part of the data and where its shards go.
struct Part {
  std::string name;
  Dataset dataset;
  fs::path folder;  // below the output
};

// "data/train/" and "." have names too.
std::string folder_name(const fs::path& folder) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  return error || real.filename().empty() ? "pictures" : real.filename().string();
}

// The splits that `data` holds, all with the classes of the first; or what `data` is itself.
std::vector<Part> parts_of(const fs::path& data) {
  std::vector<Part> parts;
  std::error_code error;
  for (const char* split : {"train", "val", "validation", "test"}) {
    if (!fs::is_directory(data / split, error)) continue;
    const std::vector<std::string> classes = parts.empty() ? std::vector<std::string>() : parts.front().dataset.classes;
    parts.push_back({.name = split, .dataset = open_dataset(data / split, classes), .folder = split});
  }
  if (parts.empty()) parts.push_back({.name = folder_name(data), .dataset = open_dataset(data), .folder = "."});
  return parts;
}

ExitCode pack(const PackOptions& options) {
  const std::vector<Part> parts = parts_of(options.data);
  std::int64_t total = 0;
  for (const Part& part : parts) total += static_cast<std::int64_t>(part.dataset.samples.size());

  // A slash at the end would make it a folder without a name.
  const fs::path output = (fs::path(options.output) / ".").lexically_normal().parent_path();
  PartialFolder folder(output);
  ProgressLine progress(Progress("pictures", total));
  const auto done = [&](std::string_view failure) {
    if (!failure.empty()) {
      progress.clear();
      report(failure);
    }
    progress.advance(1);
  };
  PackedShards sum;
  nlohmann::ordered_json splits = nlohmann::ordered_json::array();
  using enum Table::Align;
  Table table({{"split"}, {"classes", kRight}, {"pictures", kRight}, {"shards", kRight}, {"size", kRight}});
  for (const Part& part : parts) {
    fs::create_directories(folder.path() / part.folder);
    const PackedShards packed = write_shards(part.dataset, folder.path() / part.folder,
                                             {.name = part.name,
                                              .max_bytes = options.shard_bytes,
                                              .max_pictures = options.pictures_a_shard,
                                              .seed = options.seed},
                                             done);
    sum.pictures += packed.pictures;
    sum.failed += packed.failed;
    const auto classes = static_cast<std::int64_t>(part.dataset.classes.size());
    table.add({part.name, format_count(classes), format_count(packed.pictures), format_count(packed.shards),
               format_bytes(packed.bytes)});
    splits.push_back({{"split", part.name},
                      {"folder", (output / part.folder).lexically_normal().string()},
                      {"classes", classes},
                      {"pictures", packed.pictures},
                      {"failed", packed.failed},
                      {"shards", packed.shards},
                      {"bytes", packed.bytes}});
  }
  folder.move_to_target();
  progress.clear();
  if (options.json) {
    print_document(nlohmann::ordered_json{
        {"output", output.string()}, {"pictures", sum.pictures}, {"failed", sum.failed}, {"splits", splits}});
  } else {
    print(table.text());
  }
  if (sum.failed == 0) return kDone;
  report(fmt::format("{} of {} pictures were left out", sum.failed, total));
  return kFailed;
}

}  // namespace

ExitCode pack_command(int argc, char** argv) {
  PackOptions options;
  CLI::App command{"Pack labelled pictures into tar shards, as WebDataset has them.", "convnext pack"};
  command.add_option("FOLDER", options.data, "A folder of class folders, or one that holds train, val or test")
      ->required();
  command.add_option("--output", options.output, "Folder of the shards, which is made")
      ->required()
      ->type_name("FOLDER");
  auto* bytes = command.add_option("--shard-size", options.shard_bytes, "Size of a shard at most: 64M, 1G")
                    ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
                    ->check(CLI::PositiveNumber)
                    ->type_name("BYTES");
  command
      .add_option("--pictures-a-shard", options.pictures_a_shard, "Pictures of a shard at most, whatever their size")
      ->check(CLI::PositiveNumber)
      ->excludes(bytes)
      ->type_name("N");
  command.add_option("--seed", options.seed, "Of the order of the pictures")->capture_default_str();
  add_json_option(command, options.json);
  command.footer("Example: convnext pack pictures --output shards");
  if (!parse_command_line(command, argc, argv)) return kDone;
  if (options.pictures_a_shard > 0) options.shard_bytes = std::numeric_limits<std::uint64_t>::max();
  return pack(options);
}

}  // namespace convnext::apps
