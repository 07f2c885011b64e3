// fuzz_seeds REPOSITORY FOLDER: first inputs for every fuzzer, FOLDER/NAME/*, from the goldens of the tests.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <vector>

#include "convnext/error.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "io/tar.h"
#include "io/zip_archive.h"
#include "model/card.h"

namespace convnext {
namespace {
namespace fs = std::filesystem;

constexpr std::uintmax_t kMostBytes = 20'000;  // larger seeds make slow fuzzers
constexpr char kClaimedNetworks = 15;          // of fuzz/claims.cc

class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) {}

  void add(std::string_view fuzzer, std::string_view name, std::string_view bytes) const {
    fs::create_directories(folder_ / fuzzer);
    write_file_atomically(folder_ / fuzzer / name, bytes);
  }

 private:
  fs::path folder_;
};

// A shard of one picture in every way to say its class.
std::string shard_of(std::string_view picture, std::string_view extension) {
  std::string bytes;
  const ByteSink sink = [&](std::span<const std::byte> part) { bytes += text_of(part); };
  TarWriter tar(sink);
  tar.add(fmt::format("0.{}", extension), picture);
  tar.add("0.cls", "3");
  tar.add(fmt::format("1.{}", extension), picture);
  tar.add("1.json", R"({"label": 4})");
  tar.finish();
  return bytes;
}

// By the ends of their names.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kFuzzers = {{{".jpg", "jpeg"},
                                                                                    {".png", "png"},
                                                                                    {".webp", "webp"},
                                                                                    {".npy", "npy"},
                                                                                    {".safetensors", "safetensors"},
                                                                                    {".pth", "pytorch"},
                                                                                    {".pth", "zip"}}};

void make_seeds(const fs::path& repository, const Seeds& seeds) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(repository / "tests" / "goldens")) {
    if (!entry.is_regular_file() || entry.file_size() > kMostBytes) continue;
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    const std::string bytes = read_text(path);
    for (const auto& [end, fuzzer] : kFuzzers) {
      if (name.ends_with(end)) seeds.add(fuzzer, name, bytes);
    }
    // For each of the networks: most say "other weights", and one reads on.
    if (name.ends_with("config.json")) {
      for (char network = 0; network < kClaimedNetworks; ++network) {
        const std::string seed = fmt::format("{}-{}-{}", path.parent_path().filename().string(), name, int{network});
        seeds.add("claims", seed, std::string{network, name == "config.json" ? '\0' : '\1'} + bytes);
      }
    }
    if (name.ends_with(".pth") && bytes.starts_with("PK")) {
      const ZipArchive archive(MappedFile::open(path));
      for (const ZipMember& member : archive.members()) {
        if (member.name.ends_with("data.pkl")) seeds.add("pickle", name + ".pkl", text_of(archive.read(member).bytes));
      }
    }
    if (bytes.size() < 1000 && (name.ends_with(".png") || name.ends_with(".jpg"))) {
      seeds.add("tar", name + ".tar", shard_of(bytes, path.extension().string().substr(1)));
    }
  }
  seeds.add("safetensors", "index.json", R"({"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors"}})");
  for (const fs::directory_entry& entry : fs::directory_iterator(repository / "models")) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile model = SafetensorsFile::open(entry.path());
    const auto card = model.metadata().find(std::string(kCardKey));
    if (card != model.metadata().end()) seeds.add("card", entry.path().filename().string() + ".json", card->second);
  }
  seeds.add(
      "claims", "open_clip",
      std::string("\x0a\x02", 2) +
          R"({"model_cfg": {"vision_cfg": {"timm_model_name": "convnext_tiny", "image_size": 224}},)"
          R"( "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}})");
  seeds.add("coco", "boxes",
            R"({"images":[{"id":5,"width":30,"height":20}],"categories":[{"id":3,"name":"cat"}],)"
            R"("annotations":[{"id":7,"image_id":5,"category_id":3,"bbox":[1,2,3,4],"area":12}]})"
            "\n"
            R"([{"image_id":5,"category_id":3,"bbox":[1,2,3,4],"score":0.5}])");
  seeds.add("coco", "masks",
            R"({"images":[{"id":5,"width":30,"height":20}],"categories":[{"id":3}],"annotations":[)"
            R"({"id":7,"image_id":5,"category_id":3,"area":9,"segmentation":[[1,1,9,1,9.5,9]]},)"
            R"({"id":8,"image_id":5,"category_id":3,"area":9,"iscrowd":1,"segmentation":)"
            R"({"size":[20,30],"counts":[5,3,592]}}]})"
            "\n"
            R"([{"image_id":5,"category_id":3,"score":0.5,"segmentation":)"
            R"({"size":[20,30],"counts":"0hb0"}}])");
  seeds.add("preprocess", "first", std::string(64, '\x55'));
}

}  // namespace
}  // namespace convnext

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    convnext::make_seeds(argv[1], convnext::Seeds(argv[2]));
  } catch (const std::exception& error) {
    fmt::print(stderr, "fuzz_seeds: {}\n", error.what());
    return 1;
  }
  return 0;
}
