// convnext/model.h: load a network and ask it questions.
//
//   auto model = convnext::Model::load("model.safetensors");
//   auto best = model.classify(convnext::Image::open("cat.jpg")).front();
//   std::printf("%s %.1f %%\n", best.label.c_str(), 100 * best.probability);
//
// A Model is immutable and cheap to copy: one for the whole process, any number of threads. Each thread that runs it
// owns a Context (scratch memory, reused between calls); the short forms above make one per call.
//
//   convnext::Context context(model);
//   for (const auto& frame : camera) {
//     auto input = model.preprocess(frame);                     // (3, 224, 224)
//     auto outputs = model.run(input.view(), context);          // logits (1, 1000)
//   }
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/image.h"
#include "convnext/tensor.h"
#include "convnext/thread_pool.h"

namespace convnext {

struct Prediction {
  int index = 0;             // class index: position in the logits
  std::string label;         // "class 281" when the model has no labels
  float probability = 0.0f;  // softmax over all classes
};

struct LoadOptions {
  std::string architecture;  // registered name, for weights without a card; an error when a card contradicts it
  std::string isa;           // scalar, avx2, avx512, neon; empty: CONVNEXT_ISA, then the best there is
};

// What run() is asked for.
struct Wanted {
  bool logits = true;
  bool pooled = false;
  bool stages = false;
};

struct Outputs {
  Tensor logits;               // (n, classes)
  Tensor pooled;               // (n, channels)
  std::vector<Tensor> stages;  // (n, channels, height, width) of each stage
};

class Context;

class Model {
 public:
  // Reads weights and card. `path`: a .safetensors file, or a run folder (its model.safetensors).
  // Throws Error when the file is damaged, or its tensors do not make the network that card or options name (the
  // message names the first key that does not fit, with both shapes).
  static Model load(const std::filesystem::path& path, const LoadOptions& options = {});

  // The same weights, nothing copied, for pictures prepared in another way, or with other names for the classes (one a
  // class, or none). Throws Error: a value out of range, or another number of labels.
  Model with_preprocessing(const Preprocessing& preprocessing) const;
  Model with_labels(std::vector<std::string> labels) const;

  // The `top_k` most probable classes, best first. Resizes, crops and normalises as the card says.
  std::vector<Prediction> classify(const Image& image, int top_k = 5) const;
  // Pooled features after the final norm, (channels,): timm's forward_head(pre_logits=True).
  std::vector<float> embed(const Image& image) const;
  // The raw output of each stage, (1, channels, height, width), finest first: what a detector builds on.
  std::vector<Tensor> features(const Image& image) const;

  // The steps these are made of.
  Tensor preprocess(const Image& image) const;  // (3, resolution, resolution)
  Outputs run(const ConstTensorView& input, Context& context, const Wanted& wanted = {}) const;  // input (n, c, h, w)
  std::vector<Prediction> predictions(std::span<const float> logits, int top_k) const;

  const std::string& architecture() const;  // "convnext_tiny"
  const Preprocessing& preprocessing() const;
  const std::vector<std::string>& labels() const;  // empty when the file has none
  int classes() const;
  int input_channels() const;
  std::string_view isa() const;        // what it runs on: "avx2"
  std::uint64_t weight_bytes() const;  // as kept for running

 private:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// Scratch memory and threads for running a model: one thread's at a time.
class Context {
 public:
  // With threads of its own: `threads` 0 for as many as the process may use.
  explicit Context(const Model& model, int threads = 0);
  // With somebody's pool, which must outlive the context.
  Context(const Model& model, ThreadPool& pool);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

 private:
  friend class Model;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace convnext
