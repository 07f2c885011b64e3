#include "model/card_sources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <variant>

#include "convnext/error.h"
#include "io/quoted.h"
#include "model/card_claims.h"
#include "model/imagenet_labels.h"
#include "model/layouts.h"
#include "model/published.h"
#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::string_view kSmallWindows = "the windows that are smaller than the others";

// Whether it is what hubs call every file of weights, or a shard of one: model-00001-of-00002.safetensors.
bool is_generic(std::string_view file) {
  constexpr std::string_view kStems[] = {"model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model"};
  const std::string_view stem = file.substr(0, file.find('.'));
  return std::ranges::any_of(kStems, [stem](std::string_view generic) {
    if (!stem.starts_with(generic)) return false;
    const std::string_view rest = stem.substr(generic.size());
    return rest.empty() || (rest.front() == '-' && rest.find("-of-") != std::string_view::npos &&
                            rest.find_first_not_of("-0123456789of") == std::string_view::npos);
  });
}

// The file's name, and those of the folders that a hub puts its file in: model.safetensors says nothing.
std::vector<std::string> telling_names(const fs::path& weights) {
  std::vector<std::string> names = {weights.filename().string()};
  if (!is_generic(names.front())) return names;
  std::error_code ignored;
  const fs::path folder = fs::absolute(weights, ignored).lexically_normal().parent_path();
  names.push_back(folder.filename().string());
  // The hub's cache: models--timm--convnext_tiny.fb_in1k/snapshots/REVISION/model.safetensors.
  const std::string repository = folder.parent_path().parent_path().filename().string();
  if (const std::size_t owner = repository.rfind("--"); owner != std::string::npos) {
    names.push_back(repository.substr(owner + 2));
  }
  return names;
}

std::vector<std::string> words(std::string_view name) {
  std::vector<std::string> result(1);
  for (const char c : name) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    if (is_letter) {
      result.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!result.back().empty()) {
      result.emplace_back();
    }
  }
  if (result.back().empty()) result.pop_back();
  return result;
}

bool is_one_of(const std::vector<std::string>& all, std::string_view word) {
  return std::ranges::find(all, word) != all.end();
}

// How much of a tag is in a file's name: words of the tag that are there, less those that are not. "22k" means in22k.
int agreement(const std::vector<std::string>& of_name, std::string_view tag) {
  int score = 0;
  for (const std::string& word : words(tag)) {
    const bool found =
        is_one_of(of_name, word) || (word.starts_with("in") && is_one_of(of_name, std::string_view(word).substr(2)));
    score += found ? 3 : -1;
  }
  return score;
}

// Which published weights of this architecture a name reminds of most, and the registered default when of none.
const PublishedWeights* most_alike(const RegistryEntry& entry, int classes, const std::vector<std::string>& of_name) {
  const PublishedWeights* best = find_published(entry.name, entry.published_weights);
  constexpr int kOfOtherClasses = -100;
  int best_score = best && best->classes == classes ? agreement(of_name, best->tag()) : kOfOtherClasses;
  for (const PublishedWeights& weights : published_weights()) {
    if (weights.architecture != entry.name || weights.classes != classes) continue;
    const int score = agreement(of_name, weights.tag());
    // A short tag is not more alike for having fewer words that are not there.
    const bool shares_a_word = score > -static_cast<int>(words(weights.tag()).size());
    if (score > best_score && (shares_a_word || best_score == kOfOtherClasses)) {
      best = &weights;
      best_score = score;
    }
  }
  return best;
}

bool is_same_network(const NetworkConfig& network, const RegistryEntry& entry) {
  return have_same_tensors(entry.network, network);
}

// A distance between networks that puts the kind of block first, then widths, then depths.
double distance(const ConvNextConfig& network, const ConvNextConfig& registered) {
  double sum = 0.0;
  if (network.grn != registered.grn) sum += 100.0;
  if (network.stem_norm != registered.stem_norm) sum += 100.0;
  if (network.stages() != registered.stages()) sum += 50.0 * std::abs(network.stages() - registered.stages());
  if (network.head != registered.head) sum += 10.0;
  if (network.stem != registered.stem) sum += 5.0;
  if (network.norm != registered.norm) sum += 5.0;
  const std::size_t stages = std::min(network.dims.size(), registered.dims.size());
  for (std::size_t i = 0; i < stages; ++i) {
    sum += std::abs(std::log(static_cast<double>(network.dims[i]) / registered.dims[i]));
    sum += 0.2 * std::abs(std::log(static_cast<double>(network.depths[i]) / registered.depths[i]));
  }
  return sum;
}

// DINOv3's networks are the ordinary ones without a classifier: only names can tell them apart.
bool sounds_like_dinov3(const std::vector<std::string>& of_name) {
  return is_one_of(of_name, "dinov3") || is_one_of(of_name, "eupe");
}

// In how many fields of the card networks of one family differ; what only files differ in counts least.
double distance(const NetworkConfig& network, const NetworkConfig& registered) {
  if (const auto* convnext = std::get_if<ConvNextConfig>(&network)) {
    return distance(*convnext, std::get<ConvNextConfig>(registered));
  }
  const auto unlike = [&network](const NetworkConfig& other) {
    return static_cast<double>(network_differences(network, other).size());
  };
  return unlike(fitted(registered, network)) + 0.01 * unlike(as_named(registered, network));
}

const RegistryEntry& nearest_entry(const NetworkConfig& network, bool is_dinov3) {
  const bool is_convnext = std::holds_alternative<ConvNextConfig>(network);
  const RegistryEntry* best = nullptr;
  double best_distance = std::numeric_limits<double>::infinity();
  for (const RegistryEntry& entry : registry()) {
    if (entry.network.index() != network.index() || (entry.family == Family::kDinov3ConvNext) != is_dinov3) continue;
    const bool is_same = is_same_network(network, entry);
    if (entry.family == Family::kRoadmap && !is_same) continue;  // a step is only itself
    double cost = distance(network, entry.network);
    // What tensors do not tell comes after what they do; a ConvNeXt's is taken from the first that has its tensors.
    if (is_same) cost = is_convnext ? -1.0 : cost - 1000.0;
    if (cost < best_distance) {
      best = &entry;
      best_distance = cost;
    }
  }
  return *best;
}

// The first thing in which a network is not the registered one, as "dims are 64,128,256,512, and convnext_tiny's are
// 96,192,384,768".
std::string first_difference(const ConvNextConfig& network, const RegistryEntry& entry) {
  const std::string unlike = fmt::format("layers are others than {}'s", entry.name);
  if (!std::holds_alternative<ConvNextConfig>(entry.network)) return unlike;
  const auto& registered = std::get<ConvNextConfig>(entry.network);
  const auto differ = [&](std::string_view what, const auto& have, const auto& want) {
    return have == want ? std::string() : fmt::format("{} {}, and {}'s are {}", what, have, entry.name, want);
  };
  const auto join = [](const std::vector<int>& values) { return fmt::format("{}", fmt::join(values, ",")); };
  const auto yes = [](bool value) { return value ? "there" : "absent"; };
  const std::string differences[] = {
      differ("dims are", join(network.dims), join(registered.dims)),
      differ("depths are", join(network.depths), join(registered.depths)),
      differ("kernels are", join(network.kernel_sizes), join(registered.kernel_sizes)),
      differ("patches are", network.patch_size, registered.patch_size),
      differ("layers of the stem are", name_of(network.stem), name_of(registered.stem)),
      differ("layers of the head are", name_of(network.head), name_of(registered.head)),
      differ("layer scales are", yes(network.layer_scale), yes(registered.layer_scale)),
      differ("response norms are", yes(network.grn), yes(registered.grn)),
  };
  const auto found = std::ranges::find_if(differences, [](const std::string& text) { return !text.empty(); });
  return found == std::end(differences) ? unlike : *found;
}

std::string first_difference(const NetworkConfig& network, const RegistryEntry& entry) {
  if (const auto* convnext = std::get_if<ConvNextConfig>(&network)) return first_difference(*convnext, entry);
  for (const auto& [name, value, registered] : network_differences(network, fitted(entry.network, network))) {
    if (registered.empty()) continue;
    return fmt::format("'{}' is {}, and {}'s is {}", name, card_value_text(value), entry.name,
                       card_value_text(registered));
  }
  return fmt::format("layers are others than {}'s", entry.name);
}

// Puts the card together: the first source that says something is believed.
class CardBuilder {
 public:
  CardBuilder(const fs::path& weights, const NetworkConfig& network, std::string_view architecture,
              std::string_view library, const FileLimits& limits, const NamedClasses& classes)
      : weights_(weights),
        network_(network),
        named_(architecture.empty() ? nullptr : &convnext::architecture(architecture)),
        classes_(classes),
        names_(telling_names(weights)),
        sources_(read_claims(weights.parent_path(), network, limits)) {
    for (const std::string& name : names_) {
      const auto more = words(name);
      words_.insert(words_.end(), more.begin(), more.end());
      if (!published_) published_ = published_named(name);
    }
    if (library == "torchvision" && !std::holds_alternative<ConvNextConfig>(network_)) {
      is_torchvision_ = true;
      for (const char* tag : {"tv", "tv2"}) words_.emplace_back(tag);
    }
    if (published_) published_origin_ = fmt::format("published weights {}", published_->name);
  }

  FoundCard build() && {
    const RegistryEntry& entry = find_entry();
    found_.card.architecture = entry.name;
    set_network(entry);
    choose_published(entry);
    for (const CardClaims& source : sources_) {
      if (!source.note.empty()) note(source.note);
    }
    set_preprocessing();
    set_labels();
    set_facts();
    return std::move(found_);
  }

 private:
  // Throws when a source names another network than the user, or one that the tensors do not make.
  const RegistryEntry& find_entry() {
    for (const CardClaims& source : sources_) {
      if (!source.architecture) continue;
      const RegistryEntry* said = find_architecture(*source.architecture);
      if (!said) {
        pass_over_architecture(source);
        continue;
      }
      if (named_ && named_ != said && !is_same_network(network_, *said)) {
        throw Error(ErrorCode::kMismatch,
                    fmt::format("'{}' is a {} by its {}, not a {}: leave the name {} out", weights_.string(),
                                said->name, source.origin, named_->name, named_->name));
      }
      if (source.network ? !have_same_tensors(network_, NetworkConfig(*source.network))
                         : !is_same_network(network_, *said)) {
        throw Error(ErrorCode::kMismatch,
                    fmt::format("'{}' is a {} by its {}, but its {}: the file belongs to other "
                                "weights",
                                weights_.string(), said->name, source.origin, first_difference(network_, *said)));
      }
      return from(named_ ? *named_ : *said, named_ ? "--architecture" : source.origin);
    }
    if (named_) return from(*named_, "--architecture");
    if (published_) {
      const RegistryEntry& said = convnext::architecture(published_->architecture);
      if (is_same_network(network_, said)) return from(said, published_origin_);
      note(fmt::format("the name is that of {}, but its {}: these are other weights", published_->name,
                       first_difference(network_, said)));
      published_ = nullptr;
    }
    if (const RegistryEntry* said = registered_in_name()) return from(*said, "the file's name");
    const bool is_dinov3 = std::holds_alternative<ConvNextConfig>(network_) &&
                           (sounds_like_dinov3(words_) || std::ranges::any_of(sources_, &CardClaims::is_dinov3));
    const RegistryEntry& nearest = nearest_entry(network_, is_dinov3);
    is_only_nearest_ = !is_same_network(network_, nearest);
    if (is_only_nearest_) {
      note(
          fmt::format("no network with a name has these tensors: it is called {}, which is the nearest", nearest.name));
    } else {
      note_what_tensors_do_not_tell(nearest);
    }
    return from(nearest, "the tensors' shapes");
  }

  // The network that the file's or the folder's name begins with, where its tensors are these; null for a ConvNeXt,
  // whose tensors tell more than names.
  const RegistryEntry* registered_in_name() const {
    if (std::holds_alternative<ConvNextConfig>(network_)) return nullptr;
    const RegistryEntry* longest = nullptr;
    for (const std::string& name : names_) {
      for (const RegistryEntry& entry : registry()) {
        const std::string_view rest = std::string_view(name).substr(std::min(entry.name.size(), name.size()));
        const bool ends_there = rest.empty() || std::string_view("._-").find(rest.front()) != std::string_view::npos;
        if (!name.starts_with(entry.name) || !ends_there || !is_same_network(network_, entry)) continue;
        if (!longest || entry.name.size() > longest->name.size()) longest = &entry;
      }
    }
    return longest;
  }

  // Of a ConvNeXt nobody has published two kinds with the same tensors; torchvision's names are its own networks'.
  void note_what_tensors_do_not_tell(const RegistryEntry& taken) {
    if (std::holds_alternative<ConvNextConfig>(network_) || is_torchvision_) return;
    std::vector<std::string> others;
    for (const RegistryEntry& entry : registry()) {
      // A DeiT is a ViT that sees other colours.
      const bool is_alike = fitted(entry.network, network_) == fitted(taken.network, network_) &&
                            entry.preprocessing.mean == taken.preprocessing.mean &&
                            entry.preprocessing.std == taken.preprocessing.std;
      if (entry.family != taken.family || is_alike) continue;
      if (is_same_network(network_, entry)) others.push_back(entry.name);
    }
    if (others.empty()) return;
    note(fmt::format("took it for {}; {} {} the same tensors: if it is such a one, say so by --architecture",
                     taken.name, fmt::join(others, " and "), others.size() == 1 ? "has" : "have"));
  }

  // Throws when nothing but that name, which no network here has, tells whether the source is of these weights.
  void pass_over_architecture(const CardClaims& source) {
    const std::string name = in_quotes(*source.architecture);
    if (!source.describes_tensors && !named_) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("'{}' is a {} by its {}, which is no network that is known here: move the file away if "
                              "it belongs to other weights, else say which network it is by --architecture",
                              weights_.string(), name, source.origin));
    }
    note(fmt::format("{} calls the network {}, which is none that is known here", source.origin, name));
  }

  const RegistryEntry& from(const RegistryEntry& entry, std::string origin) {
    found_.origins["architecture"] = std::move(origin);
    return entry;
  }

  void set_network(const RegistryEntry& entry) {
    if (const auto* convnext = std::get_if<ConvNextConfig>(&network_)) {
      set_convnext(entry, *convnext);
    } else {
      set_other_family(entry);
    }
  }

  // What tensors do not tell is as registered.
  void set_other_family(const RegistryEntry& entry) {
    NetworkConfig network = is_only_nearest_ ? network_ : fitted(entry.network, network_);
    constexpr std::string_view kTold[] = {"classes", "input_channels", "grid_height", "grid_width", "windows"};
    for (const NetworkField& field : network_fields(network)) {
      found_.origins[field.name] = std::ranges::find(kTold, field.name) != std::end(kTold) ? "the tensors' shapes"
                                   : is_only_nearest_                                      ? "assumed"
                                                      : fmt::format("{} as registered", entry.name);
    }
    const auto take_if_said = [this](const char* key, auto CardClaims::*member, auto& target) {
      const auto source =
          std::ranges::find_if(sources_, [member](const CardClaims& claims) { return (claims.*member).has_value(); });
      if (source == sources_.end()) return;
      target = *((*source).*member);
      found_.origins[key] = source->origin;
    };
    if (auto* efficientnet = std::get_if<EfficientNetConfig>(&network)) {
      take_if_said("norm_eps", &CardClaims::norm_eps, efficientnet->norm_eps);
    }
    if (auto* swin = std::get_if<SwinConfig>(&network)) {
      if (const auto side = input_size_of_windows(*swin)) {
        set_input_size(*swin, *side);
        found_.origins["pads_windows"] = kSmallWindows;
      }
      take_if_said("pads_windows", &CardClaims::pads_windows, swin->pads_windows);
    }
    validate(network);
    found_.card.network = std::move(network);
  }

  void set_convnext(const RegistryEntry& entry, const ConvNextConfig& have) {
    // One that is only the nearest is not this one: nothing that tensors do not tell is taken from it.
    const auto& registered = is_only_nearest_ ? have : std::get<ConvNextConfig>(entry.network);
    ConvNextConfig network = have;
    if (network.norm != Norm::kLayerNorm && registered.norm != Norm::kLayerNorm) network.norm = registered.norm;
    const std::string of_entry = is_only_nearest_ ? "assumed" : fmt::format("{} as registered", entry.name);
    take("norm_eps", &CardClaims::norm_eps, network.norm_eps, registered.norm_eps, of_entry);
    take("activation", &CardClaims::activation, network.activation, registered.activation, of_entry);
    network.head_norm_eps = 0.0;
    for (const CardClaims& source : sources_) {
      if (!source.head_norm_eps) continue;
      if (*source.head_norm_eps != network.norm_eps) network.head_norm_eps = *source.head_norm_eps;
      found_.origins["head_norm_eps"] = source.origin;
      break;
    }
    for (const char* key : {"depths", "dims", "kernel_sizes", "classes", "input_channels"}) {
      found_.origins[key] = "the tensors' shapes";
    }
    validate(NetworkConfig(network));
    found_.card.network = network;
  }

  // Which published weights stand in for what no file says.
  void choose_published(const RegistryEntry& entry) {
    for (const CardClaims& source : sources_) {
      if (!source.published) continue;
      published_ = source.published;
      published_origin_ = fmt::format("published weights {}", published_->name);
      break;
    }
    if (published_ && published_->architecture == entry.name) {
      is_published_ = published_->classes == class_count(network_);
      // Of a file's name that is worth a word; a config.json says the number of classes itself.
      if (!is_published_ && std::ranges::none_of(sources_, &CardClaims::published)) {
        note(fmt::format("the name is that of {}, which has {} classes: these, with {}, were trained further",
                         published_->name, published_->classes, class_count(network_)));
      }
      return;
    }
    published_ = most_alike(entry, class_count(network_), words_);
    published_origin_ = published_ ? fmt::format("assumed: as of {}", published_->name) : "assumed";
  }

  void set_preprocessing() {
    Preprocessing fallback =
        published_ ? published_->preprocessing : architecture(found_.card.architecture).preprocessing;
    std::string resolution_origin = published_origin_;
    // Weights of another grid than their network's name says were trained on pictures of another size.
    const auto* vit = std::get_if<VisionTransformerConfig>(&found_.card.network);
    if (vit && vit->grid_height == vit->grid_width && vit->grid_width * vit->patch_size != fallback.resolution) {
      fallback.resolution = vit->grid_width * vit->patch_size;
      resolution_origin = "the grid of the position embeddings";
    }
    // So were those of windows that are smaller for it. Of the sizes that these can be for, the largest.
    const auto* swin = std::get_if<SwinConfig>(&found_.card.network);
    if (const auto side = swin ? input_size_of_windows(*swin) : std::nullopt) {
      fallback.resolution = static_cast<int>(*side);
      resolution_origin = kSmallWindows;
    }
    Preprocessing& p = found_.card.preprocessing;
    silent_.clear();
    take("resolution", &CardClaims::resolution, p.resolution, fallback.resolution, resolution_origin);
    take("mean", &CardClaims::mean, p.mean, fallback.mean, published_origin_);
    take("std", &CardClaims::std, p.std, fallback.std, published_origin_);
    take("interpolation", &CardClaims::interpolation, p.interpolation, fallback.interpolation, published_origin_);
    take("pipeline", &CardClaims::pipeline, p.pipeline, fallback.pipeline, published_origin_);
    const std::size_t before = silent_.size();
    take("crop_fraction", &CardClaims::crop_fraction, p.crop_fraction, fallback.crop_fraction, published_origin_);
    take("crop_mode", &CardClaims::crop_mode, p.crop_mode, fallback.crop_mode, published_origin_);
    // A fraction of one picture's size says nothing of a way that keeps all of it.
    if (silent_.size() == before + 1 && silent_.back() == "crop_fraction" && p.crop_mode == CropMode::kSquash) {
      p.crop_fraction = 1.0;
      found_.origins["crop_fraction"] = "a squeeze keeps the whole picture";
      silent_.pop_back();
    }
    validate(p, fmt::format("the preprocessing of '{}' ({})", weights_.string(), found_.origins["resolution"]));
    if (silent_.empty() || !published_origin_.starts_with("assumed")) return;
    const std::string taken =
        published_ ? fmt::format("took that of {}", published_->name) : std::string("took the usual values");
    if (sources_.empty()) {
      note(fmt::format("nothing says how pictures were prepared: {}", taken));
    } else {
      note(fmt::format("nothing says {}: {}", fmt::join(silent_, ", "), taken));
    }
  }

  void set_labels() {
    for (const CardClaims& source : sources_) {
      if (!source.labels) continue;
      found_.card.labels = *source.labels;
      found_.origins["labels"] = source.origin;
      return;
    }
    const auto count = static_cast<std::size_t>(class_count(network_));
    if (count > 0 && classes_.names.size() == count) {
      found_.card.labels = classes_.names;
      found_.origins["labels"] = fmt::format("the checkpoint's {}", classes_.key);
      return;
    }
    if (count > 0 && !classes_.key.empty()) {
      note(fmt::format("the checkpoint's {} names {} classes, and the network has {}: the names are left out",
                       classes_.key, classes_.names.size(), count));
    }
    if (const ImagenetList* list = imagenet_list(class_count(network_))) {
      found_.card.labels = list->labels;
      found_.origins["labels"] =
          fmt::format("the names of {}, for it has {} classes", list->name, class_count(network_));
    }
  }

  void set_facts() {
    for (const CardClaims& source : sources_) {
      if (!source.license) continue;
      found_.card.license = *source.license;
      found_.origins["license"] = source.origin;
      break;
    }
    if (!published_ || !is_published_) return;
    if (found_.card.license.empty() && !published_->license.empty()) {
      found_.card.license = published_->license;
      found_.origins["license"] = published_origin_;
    }
    Json training = {{"weights", published_->name}, {"data", training_data(*published_)}};
    const PublishedTop1& top1 = published_->top1;
    if (top1.published > 0 || top1.timm > 0) training["top1"] = top1.published > 0 ? top1.published : top1.timm;
    found_.card.training = training.dump();
    found_.origins["training"] = published_origin_;
  }

  template <typename T>
  void take(const char* key, std::optional<T> CardClaims::*member, T& target, const T& fallback,
            const std::string& fallback_origin) {
    for (const CardClaims& source : sources_) {
      if (!(source.*member)) continue;
      target = *(source.*member);
      found_.origins[key] = source.origin;
      return;
    }
    target = fallback;
    found_.origins[key] = fallback_origin;
    silent_.emplace_back(key);
  }

  void note(std::string text) { found_.notes.push_back(std::move(text)); }

  const fs::path& weights_;
  const NetworkConfig& network_;
  const RegistryEntry* named_;
  const NamedClasses& classes_;
  std::vector<std::string> names_;   // of the file and its folders
  std::vector<std::string> words_;   // that they are made of
  std::vector<CardClaims> sources_;  // the most trusted first
  const PublishedWeights* published_ = nullptr;
  std::string published_origin_;
  bool is_torchvision_ = false;      // by the names of the tensors
  bool is_only_nearest_ = false;     // no registered network is this one
  bool is_published_ = false;        // these are those weights, not others trained from them
  std::vector<std::string> silent_;  // values that no source says
  FoundCard found_;
};

}  // namespace

std::string difference_from(const NetworkConfig& network, const RegistryEntry& entry) {
  if (is_same_network(network, entry)) return {};
  const RegistryEntry& nearest = nearest_entry(network, entry.family == Family::kDinov3ConvNext);
  std::string text = fmt::format("its {}", first_difference(network, entry));
  if (&nearest != &entry) {
    text += fmt::format("; the nearest is {}: try --architecture {}, or none", nearest.name, nearest.name);
  }
  return text;
}

FoundCard find_card(const fs::path& weights, const NetworkConfig& network, std::string_view architecture,
                    std::string_view library, const FileLimits& limits, const NamedClasses& classes) {
  return CardBuilder(weights, network, architecture, library, limits, classes).build();
}

}  // namespace convnext
