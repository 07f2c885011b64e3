// The card of weights that bring none of ours: what other libraries write beside them, and what is known of the files
// that were published.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "io/tensor_file.h"
#include "model/card.h"
#include "model/registry.h"

namespace convnext {

struct FoundCard {
  Card card;
  // Where each value came from, by its name in our card ("resolution", "crop_fraction", "labels", "norm_eps"):
  // "config.json, 'pretrained_cfg'", "published weights convnext_tiny.fb_in1k", "the tensors' shapes", "assumed".
  std::map<std::string, std::string> origins;
  // What a person should know: "nothing says how pictures were prepared: took that of convnext_tiny.fb_in1k".
  std::vector<std::string> notes;
};

// `weights`: the file that was opened; timm's or Hugging Face's config.json and preprocessor_config.json are looked for
// beside it. `network`: what the tensors' names and shapes say, with class count and input channels in place.
// `architecture`: a registered name that the user gave, whose network has the tensors of `network`, or empty; then it
// is the registered network that equals `network` but for classes and channels, else the nearest. `library`: whose
// names the tensors have ("torchvision"), which tells whose weights they may be. `classes`: what the file itself calls
// them. What a JSON file says of eps or activation, which tensors cannot tell, goes into the card's network. Throws
// Error: a JSON file that is damaged, beyond the limits, or contradicts `network` or `architecture`.
FoundCard find_card(const std::filesystem::path& weights, const NetworkConfig& network, std::string_view architecture,
                    std::string_view library = {}, const FileLimits& limits = {}, const NamedClasses& classes = {});

// In what a network whose tensors are not the registered one's differs, for people, and which is nearest: "its dims are
// 64,128,256,512, and convnext_tiny's are 96,192,384,768; the nearest is convnext_pico: try --architecture
// convnext_pico, or none". Empty where the tensors are the same.
std::string difference_from(const NetworkConfig& network, const RegistryEntry& entry);

// What makes timm's "local-dir:" load a folder with weights in timm's layout: the text of config.json. Throws
// Error (kUnsupported) with what timm has no such network for.
std::string timm_config_json(const Card& card);
// What makes transformers' from_pretrained load one in its layout: config.json and preprocessor_config.json. Throws
// Error (kUnsupported) with what transformers has no such network for.
std::string transformers_config_json(const Card& card);
std::string transformers_preprocessor_json(const Card& card);

}  // namespace convnext
