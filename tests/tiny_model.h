// A whole model that is small enough to write and run in a millisecond.
#pragma once

#include <filesystem>

#include "engine/verify.h"
#include "model/card.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/registry.h"

namespace convnext {

// Two stages at 32 pixels, four labelled classes.
inline Card tiny_card() {
  Card card;
  card.architecture = "test_convnext2";
  const std::vector<int> depths = {1, 1}, dims = {8, 16}, kernels = {7, 5};
  card.network = with_overrides(
      architecture(card.architecture).network,
      {.depths = depths, .dims = dims, .kernel_sizes = kernels, .patch_size = {}, .classes = 4, .input_channels = {}});
  card.preprocessing = architecture(card.architecture).preprocessing;
  card.preprocessing.resolution = 32;
  card.labels = {"cat", "dog", "ship", "truck"};
  return card;
}

// With formula weights and a check vector. Gives back the path.
inline std::filesystem::path write_tiny_model(const std::filesystem::path& path, Card card = tiny_card()) {
  const WeightStore weights = formula_weights(card.network, 1);
  card.check = make_check_vector(card, weights);
  std::filesystem::create_directories(path.parent_path());
  write_checkpoint(path, card, weights);
  return path;
}

}  // namespace convnext
