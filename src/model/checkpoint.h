// A model on disk: weights and card, read together and checked against each other.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.h"
#include "model/card.h"
#include "model/layouts.h"
#include "model/registry.h"
#include "model/weights.h"

namespace convnext {

// The card of a file of weights, and how it was come by.
struct CheckpointCard {
  Card card;
  bool has_card = false;  // whether the card came with the weights, or was put together
  // Where each value of a card that was put together came from, as in FoundCard.
  std::map<std::string, std::string> origins;
  // What a person should know: which weights were taken of several, what was passed over, what was assumed.
  std::vector<std::string> notes;
};

// The same with the weights.
struct Checkpoint : CheckpointCard {
  WeightStore weights;         // by the names of tensor_specs(card.network)
  std::filesystem::path path;  // the file that was read
  WeightLayout layout = WeightLayout::kTimm;
};

// Reads a file of weights of any kind and layout, or a folder: its model.safetensors, model.safetensors.index.json,
// pytorch_model.bin, pytorch_model.bin.index.json or OpenCLIP's names for them, else its only file of weights. A file
// with our card is a whole model. Of another the network is found from its tensors, or is `architecture` with the class
// count and the input channels of the tensors, and the card is find_card()'s. Throws Error: a damaged file, a card that
// contradicts `architecture`, or the first tensor that does not fit, with both shapes.
Checkpoint read_checkpoint(const std::filesystem::path& path, std::string_view architecture = {},
                           const TensorFileOptions& options = {});

// Writes atomically. Metadata: the card, and format "pt" without which transformers refuses a file. Throws Error
// (kInvalidArgument) unless a card of precision int8 comes with the weights that rounded_to_int8() gives.
void write_checkpoint(const std::filesystem::path& path, const Card& card, const WeightStore& weights);

// Writes the model in a layout: a PyTorch file where `path` ends in .pth, .pt or .bin; a folder where it is one or ends
// in '/', with model.safetensors and the JSON files that the layout's library wants; else a safetensors file.
// Safetensors hold the card in every layout, a PyTorch file none. Each file is written atomically, weights last. Throws
// Error (kUnsupported) for a network that the layout cannot say, or that a PyTorch file's tensors alone would not make
// again, before anything is written.
void export_checkpoint(const std::filesystem::path& path, const Card& card, const WeightStore& weights,
                       WrittenLayout layout);

// Whether export_checkpoint() writes a PyTorch file there.
bool is_pytorch_output(const std::filesystem::path& path);
// The file that it writes of safetensors: `path`, or model.safetensors in a folder, which is made. Throws Error (kIo).
std::filesystem::path safetensors_output(const std::filesystem::path& path);

// What a network would lose if it were read as `back`, each "norm eps 1e-05 (it would be read as 1e-06)".
std::vector<std::string> lost_of(const NetworkConfig& network, const NetworkConfig& back);

// The file of weights that a path means: itself, or that of a folder. Throws Error (kNotFound).
std::filesystem::path weights_file(const std::filesystem::path& path);

// A registered network with what the tensors of a file tell of class count, input channels and the like (fitted()).
NetworkConfig named_network(const RegistryEntry& named, const NetworkConfig& inferred);

// Throws Error as read_checkpoint(), but looks whether every tensor fits only for a network that `architecture` names.
CheckpointCard card_of(const TensorFile& file, const RecognizedWeights& weights, std::string_view architecture,
                       const FileLimits& limits = {});

// Which file --model means: a path that exists (a file, or a folder that holds weights), else a name that is
// looked for, with and without ".safetensors", in $CONVNEXT_MODELS, ./models and `installed`. Throws Error (kNotFound)
// with the places that were tried; when it is the bare name of an architecture, with the files that were published.
std::filesystem::path find_model_file(std::string_view model, const std::filesystem::path& installed = {});

// The weights in another float type; the values are rounded to nearest even. Throws Error naming the first tensor with
// a NaN or an infinity (kDamaged), or with a number that is beyond the type (kUnsupported).
WeightStore converted(const WeightStore& weights, DType dtype);
// "fp32", "fp16", "bf16" for kF32, kF16, kBF16.
std::string_view precision_name(DType dtype);

}  // namespace convnext
