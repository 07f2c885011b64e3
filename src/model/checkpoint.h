// A model on disk: weights and card, read together and checked against each other.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "model/card.h"
#include "model/weights.h"

namespace convnext {

struct Checkpoint {
  Card card;
  WeightStore weights;         // by the names of tensor_specs(card.network)
  std::filesystem::path path;  // the file that was read
  bool has_card = false;       // false: the card is the registered default of the named architecture
};

// Reads a safetensors file, or the model.safetensors of a folder. A file with our card is a whole model. One without
// needs `architecture`: its tensors then have timm's names, class count and input channels are taken from their shapes,
// and integer buffers are passed over. Throws Error: a damaged file, a card that contradicts `architecture`, or the
// first tensor that does not fit.
Checkpoint read_checkpoint(const std::filesystem::path& path, std::string_view architecture = {});

// Writes atomically. Metadata: the card, and format "pt" without which transformers refuses a file.
void write_checkpoint(const std::filesystem::path& path, const Card& card, const WeightStore& weights);

// Which file --model means: a path that exists (a file, or a folder that holds model.safetensors), else a name that is
// looked for, with and without ".safetensors", in $CONVNEXT_MODELS, ./models and `installed`. Throws Error (kNotFound)
// with the places that were tried; when it is the bare name of an architecture, with the files that were published.
std::filesystem::path find_model_file(std::string_view model, const std::filesystem::path& installed = {});

// The weights in another float type; the values are rounded to nearest even.
WeightStore converted(const WeightStore& weights, DType dtype);
// "fp32", "fp16", "bf16" for kF32, kF16, kBF16.
std::string_view precision_name(DType dtype);

}  // namespace convnext
