#include "train/evaluation.h"

#include <algorithm>
#include <span>
#include <vector>

#include "convnext/error.h"

namespace convnext {
namespace {

// A batch without the pictures that could not be read.
struct EvaluationBatch {
  torch::Tensor pictures;  // (n, 3, h, w) float32, normalised
  std::vector<int> labels;
  std::vector<std::string> errors;
};

EvaluationBatch prepare(const PictureSource& source, std::size_t first, std::size_t count, ThreadPool* pool) {
  const Preprocessing& preprocessing = source.preprocessing();
  const std::int64_t side = preprocessing.resolution;
  const auto values = static_cast<std::size_t>(3 * side * side);
  torch::Tensor pictures = torch::empty({static_cast<std::int64_t>(count), 3, side, side}, torch::kFloat32);
  float* const out = pictures.data_ptr<float>();
  std::vector<std::string> errors(count);
  const auto prepare_one = [&](int i, int) {
    const auto place = static_cast<std::size_t>(i);
    try {
      const Image image = source.get(first + place);
      const std::span<float> prepared(out + place * values, values);
      if (source.kept() == KeptPicture::kOriginal) {
        preprocess(image, preprocessing, prepared);
      } else {
        normalize(image, preprocessing, prepared);
      }
    } catch (const Error& error) {
      errors[place] = error.what();
    }
  };
  if (pool) {
    pool->run(static_cast<int>(count), prepare_one);
  } else {
    for (int i = 0; i < static_cast<int>(count); ++i) prepare_one(i, 0);
  }

  EvaluationBatch batch;
  std::vector<std::int64_t> good;
  for (std::size_t i = 0; i < count; ++i) {
    if (!errors[i].empty()) {
      batch.errors.push_back(std::move(errors[i]));
      continue;
    }
    good.push_back(static_cast<std::int64_t>(i));
    batch.labels.push_back(source.samples()[first + i].label);
  }
  batch.pictures = good.size() == count ? pictures : pictures.index_select(0, torch::tensor(good, torch::kInt64));
  return batch;
}

}  // namespace

ClassificationMetrics evaluate(Network& network, const PictureSource& source, int classes, int batch_size,
                               const EvaluationOptions& options) {
  torch::InferenceMode inference;
  network.eval();
  const torch::Device device = network.parameters().front().device();
  ClassificationMetrics metrics(classes);
  const std::size_t total = source.samples().size();
  for (std::size_t first = 0; first < total; first += static_cast<std::size_t>(batch_size)) {
    const std::size_t count = std::min(total - first, static_cast<std::size_t>(batch_size));
    const EvaluationBatch batch = prepare(source, first, count, options.pool);
    if (options.failure) {
      for (const std::string& error : batch.errors) options.failure(error);
    }
    if (!batch.labels.empty()) {
      const torch::Tensor input = batch.pictures.to(device).contiguous(torch::MemoryFormat::ChannelsLast);
      const torch::Tensor logits = network.forward(input).logits.to(torch::kCPU, torch::kFloat32).contiguous();
      const float* row = logits.const_data_ptr<float>();
      for (const int label : batch.labels) {
        metrics.add({row, static_cast<std::size_t>(classes)}, label);
        row += classes;
      }
    }
    if (options.advance) options.advance(static_cast<std::int64_t>(count));
  }
  return metrics;
}

}  // namespace convnext
