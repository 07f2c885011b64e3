// JSON files that other libraries put beside weights: timm's, Hugging Face's, OpenCLIP's. The first byte chooses the
// network that the tensors are of, the second the file.
#include <stdlib.h>

#include <array>
#include <fstream>

#include "fuzz/input.h"
#include "model/card.h"
#include "model/card_sources.h"
#include "model/registry.h"

namespace convnext {
namespace {

// A folder for the files, which goes away with the process.
class Folder {
 public:
  Folder() : path_("/tmp/fuzz_claims_XXXXXX") {
    if (!mkdtemp(path_.data())) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path path() const { return path_; }

 private:
  std::string path_;
};

// The networks of tests/goldens/cards.
std::vector<NetworkConfig> networks() {
  std::vector<NetworkConfig> all;
  for (const char* name : {"resnet50", "regnety_040", "efficientnet_b0", "deit_base_patch16_384",
                           "vit_small_patch16_224", "swin_tiny_patch4_window7_224", "swin_base_patch4_window12_384"}) {
    all.push_back(architecture(name).network);
    set_class_count(all.back(), 3);
  }
  for (const int classes : {0, 2, 3, 5}) {
    for (const bool grn : {false, true}) {
      ConvNextConfig small;
      small.depths = {1, 1, 1, 1};
      small.dims = {8, 16, 24, 32};
      small.classes = classes;
      small.grn = grn;
      small.layer_scale = !grn;
      all.emplace_back(small);
    }
  }
  return all;
}

}  // namespace
}  // namespace convnext

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  static const Folder folder;
  static const std::vector<NetworkConfig> all = networks();
  constexpr std::array kFiles = {"config.json", "preprocessor_config.json", "open_clip_config.json"};
  if (size < 2) return 0;
  const NetworkConfig& network = all[data[0] % all.size()];
  const std::filesystem::path file = folder.path() / kFiles[data[1] % kFiles.size()];
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data) + 2, static_cast<long>(size - 2));
  read_or_refuse([&] {
    const FoundCard found = find_card(folder.path() / "model.safetensors", network, {});
    require(found.origins.contains("resolution"));
    try {
      card_from_json(card_to_json(found.card), "found");
    } catch (const Error&) {
      require(false);
    }
  });
  std::filesystem::remove(file);
  return 0;
}
