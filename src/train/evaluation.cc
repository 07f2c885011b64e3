#include "train/evaluation.h"

#include <algorithm>

#include "train/loader.h"

namespace convnext {

ClassificationMetrics evaluate(Network& network, const PictureSource& source, int classes, int batch_size) {
  torch::InferenceMode inference;
  network.eval();
  ClassificationMetrics metrics(classes);
  const std::size_t total = source.samples().size();
  for (std::size_t first = 0; first < total; first += static_cast<std::size_t>(batch_size)) {
    const std::size_t count = std::min(total - first, static_cast<std::size_t>(batch_size));
    const Batch batch = plain_batch(source, first, count);
    const torch::Tensor logits = network.forward(batch.pictures).logits.to(torch::kCPU, torch::kFloat32).contiguous();
    const float* row = logits.const_data_ptr<float>();
    for (std::size_t i = 0; i < count; ++i, row += classes) {
      metrics.add({row, static_cast<std::size_t>(classes)}, source.samples()[first + i].label);
    }
  }
  return metrics;
}

}  // namespace convnext
