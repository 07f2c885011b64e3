#include "convnext/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "convnext/error.h"
#include "engine/backend.h"
#include "engine/installed_models.h"
#include "engine/model_loading.h"
#include "engine/network.h"
#include "engine/picture_batches.h"
#include "metrics/classification.h"
#include "model/checkpoint.h"
#include "model/description.h"
#include "model/int8_weights.h"

namespace convnext {
namespace {

// The input with four axes: one picture is a batch of one.
ConstTensorView as_batch(ConstTensorView input, int channels) {
  const std::size_t axes = input.shape.size();
  if (input.dtype != DType::kF32 || (axes != 3 && axes != 4) || input.layout == Layout::kNhwc ||
      !input.is_contiguous()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("the input of a network is a contiguous float32 tensor (n, {}, height, width), or one "
                            "picture ({}, height, width); not {} {}",
                            channels, channels, name_of(input.dtype), to_string(input.shape)));
  }
  const std::int64_t given = input.shape[axes - 3];
  if (given != channels) {
    throw Error(ErrorCode::kMismatch, fmt::format("the input {} has {} channels, and this network takes {}",
                                                  to_string(input.shape), given, channels));
  }
  if (axes == 3) {
    input.shape.insert(input.shape.begin(), 1);
    input.strides = contiguous_strides(input.shape);
  }
  return input;
}

// The tensor, and the view through which it is filled; without elements it is not asked for.
TensorView allocate(Tensor& tensor, const Shape& shape) {
  tensor = Tensor::zeros(shape);
  TensorView view = tensor.view(shape.size() == 4 ? Layout::kNchw : Layout::kRowMajor);
  if (tensor.count() == 0) view.data = nullptr;
  return view;
}

constexpr Wanted kLogits{.logits = true, .pooled = false, .stages = false};
constexpr Wanted kPooled{.logits = false, .pooled = true, .stages = false};
constexpr Wanted kStages{.logits = false, .pooled = false, .stages = true};

auto picture_of(std::span<const Image> images) {
  return [images](std::size_t i) -> const Image& { return images[i]; };
}

// Puts the rows of one batch in their place among those of all, which are made room for when their size is known.
void gather(const Tensor& batch, std::size_t first, std::size_t count, Tensor& all) {
  if (first == 0) {
    Shape shape = batch.shape();
    shape[0] = static_cast<std::int64_t>(count);
    all = Tensor::zeros(shape);
  }
  if (count == 0) return;
  const std::size_t row = all.bytes().size() / count;
  std::ranges::copy(batch.bytes(), all.bytes().begin() + static_cast<std::ptrdiff_t>(first * row));
}

}  // namespace

struct Model::State {
  Card card;
  std::shared_ptr<const Executable> executable;
  std::string isa;
  Precision precision{};
  std::shared_ptr<ThreadPool> pool;
};

struct Context::State {
  std::shared_ptr<ThreadPool> pool;  // null when the workspace's is somebody else's
  Workspace workspace;
};

Context::Context(const Model& model) : state_(std::make_unique<State>()) {
  state_->pool = model.state_->pool;
  state_->workspace.pool = state_->pool.get();
}

Context::Context(const Model& /*model*/, int threads) : state_(std::make_unique<State>()) {
  state_->pool = std::make_shared<ThreadPool>(threads == 0 ? available_threads() : threads);
  state_->workspace.pool = state_->pool.get();
}

Context::Context(const Model& /*model*/, ThreadPool& pool) : state_(std::make_unique<State>()) {
  state_->workspace.pool = &pool;
}

Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

ThreadPool& Context::pool() const { return *state_->workspace.pool; }

Model Model::load(const std::filesystem::path& path, const LoadOptions& options) {
  if (options.progress) options.progress(0.0);
  const std::unique_ptr<Backend> backend = make_cpu_backend(options.isa);
  Checkpoint checkpoint = read_checkpoint(find_model_file(path.string(), installed_models()), options.architecture,
                                          {.limits = options.file_limits});
  return ModelLoading::load(std::move(checkpoint), *backend, options);
}

Model ModelLoading::load(Checkpoint checkpoint, const Backend& backend, const LoadOptions& options) {
  auto state = std::make_shared<Model::State>();
  state->pool = options.pool;
  if (!state->pool) {
    state->pool = std::make_shared<ThreadPool>(options.threads == 0 ? available_threads() : options.threads);
  }
  if (options.log) {
    for (const std::string& note : checkpoint.notes) options.log(note);
  }
  const bool holds_int8 = checkpoint.card.precision == kInt8Precision;
  const Precision natural = holds_int8 && backend.computes_in(Precision::kInt8) ? Precision::kInt8 : Precision::kFp32;
  state->precision = options.precision.value_or(natural);
  state->executable = backend.compile(checkpoint.card.network, checkpoint.weights, state->precision,
                                      {.pool = state->pool.get(), .progress = options.progress});
  state->card = std::move(checkpoint.card);
  state->isa = backend.name();
  if (options.progress) options.progress(1.0);
  return Model(std::move(state));
}

std::shared_ptr<ThreadPool> ModelLoading::pool_of(const Model& model) { return model.state_->pool; }

Model Model::with_preprocessing(const Preprocessing& preprocessing) const {
  try {
    validate(preprocessing, "the preprocessing");
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidArgument, error.what());
  }
  auto state = std::make_shared<State>(*state_);
  state->card.preprocessing = preprocessing;
  return Model(std::move(state));
}

Model Model::with_labels(std::vector<std::string> labels) const {
  check_label_count(labels, classes(), fmt::format("this {}", architecture()));
  auto state = std::make_shared<State>(*state_);
  state->card.labels = std::move(labels);
  return Model(std::move(state));
}

std::vector<Prediction> Model::classify(const Image& image, int top_k) const {
  Context context(*this);
  return classify(image, context, top_k);
}

std::vector<Prediction> Model::classify(const Image& image, Context& context, int top_k) const {
  require_classifier(*this);
  const Tensor input = preprocess(image);
  const Outputs outputs = run(input.view(Layout::kNchw), context, kLogits);
  return predictions(outputs.logits.values<float>(), top_k);
}

std::vector<float> Model::embed(const Image& image) const {
  Context context(*this);
  return embed(image, context);
}

std::vector<float> Model::embed(const Image& image, Context& context) const {
  const Tensor input = preprocess(image);
  const Outputs outputs = run(input.view(Layout::kNchw), context, kPooled);
  const auto values = outputs.pooled.values<float>();
  return {values.begin(), values.end()};
}

std::vector<Tensor> Model::features(const Image& image) const {
  Context context(*this);
  return features(image, context);
}

std::vector<Tensor> Model::features(const Image& image, Context& context) const {
  const Tensor input = preprocess(image);
  return run(input.view(Layout::kNchw), context, kStages).stages;
}

std::vector<std::vector<Prediction>> Model::classify(std::span<const Image> images, int top_k) const {
  Context context(*this);
  return classify(images, context, top_k);
}

std::vector<std::vector<Prediction>> Model::classify(std::span<const Image> images, Context& context, int top_k) const {
  require_classifier(*this);
  std::vector<std::vector<Prediction>> all;
  all.reserve(images.size());
  run_pictures(*this, context, images.size(), picture_of(images), kLogits, [&](std::size_t, const Outputs& outputs) {
    const auto logits = outputs.logits.values<float>();
    const auto width = static_cast<std::size_t>(classes());
    for (std::size_t at = 0; at < logits.size(); at += width)
      all.push_back(predictions(logits.subspan(at, width), top_k));
  });
  return all;
}

Tensor Model::embed(std::span<const Image> images) const {
  Context context(*this);
  return embed(images, context);
}

Tensor Model::embed(std::span<const Image> images, Context& context) const {
  Tensor all;
  run_pictures(*this, context, images.size(), picture_of(images), kPooled,
               [&](std::size_t first, const Outputs& outputs) { gather(outputs.pooled, first, images.size(), all); });
  return all;
}

std::vector<Tensor> Model::features(std::span<const Image> images) const {
  Context context(*this);
  return features(images, context);
}

std::vector<Tensor> Model::features(std::span<const Image> images, Context& context) const {
  std::vector<Tensor> all;
  run_pictures(*this, context, images.size(), picture_of(images), kStages,
               [&](std::size_t first, const Outputs& outputs) {
                 all.resize(outputs.stages.size());
                 for (std::size_t i = 0; i < all.size(); ++i) gather(outputs.stages[i], first, images.size(), all[i]);
               });
  return all;
}

Tensor Model::preprocess(const Image& image) const {
  require_pictures(*this);
  return convnext::preprocess(image, preprocessing());
}

Outputs Model::run(const ConstTensorView& given, Context& context, const Wanted& wanted) const {
  const ConstTensorView input = as_batch(given, input_channels());
  const OutputShapes shapes = output_shapes(state_->card.network, input.shape[0], input.shape[2], input.shape[3]);
  Outputs outputs;
  OutputViews views;
  if (wanted.logits) views.logits = allocate(outputs.logits, shapes.logits);
  if (wanted.pooled) views.pooled = allocate(outputs.pooled, shapes.pooled);
  if (wanted.stages) {
    outputs.stages.resize(shapes.stages.size());
    for (std::size_t i = 0; i < shapes.stages.size(); ++i) {
      views.stages.push_back(allocate(outputs.stages[i], shapes.stages[i]));
    }
  }
  if (input.shape[0] > 0) state_->executable->run(input, views, context.state_->workspace);
  return outputs;
}

std::vector<Prediction> Model::predictions(std::span<const float> logits, int top_k) const {
  require_classifier(*this);
  if (logits.size() != static_cast<std::size_t>(classes())) {
    throw Error(ErrorCode::kMismatch, fmt::format("{} logits for {} classes", logits.size(), classes()));
  }
  const std::vector<float> probabilities = softmax(logits);
  std::vector<Prediction> best;
  for (const int index : convnext::top_k(logits, top_k)) {
    const auto i = static_cast<std::size_t>(index);
    best.push_back({index, labels().empty() ? fmt::format("class {}", index) : labels()[i], probabilities[i]});
  }
  return best;
}

const std::string& Model::architecture() const { return state_->card.architecture; }
const Preprocessing& Model::preprocessing() const { return state_->card.preprocessing; }
const std::vector<std::string>& Model::labels() const { return state_->card.labels; }
int Model::classes() const { return class_count(state_->card.network); }
int Model::input_channels() const { return convnext::input_channels(state_->card.network); }
int Model::embedding_channels() const { return convnext::embedding_channels(state_->card.network); }
int Model::stages() const {
  const auto* convnext = std::get_if<ConvNextConfig>(&state_->card.network);
  return convnext ? convnext->stages() : layer_specs(state_->card.network).back().stage + 1;
}
std::vector<Shape> Model::feature_shapes(std::int64_t height, std::int64_t width) const {
  std::vector<Shape> shapes = output_shapes(state_->card.network, 1, height, width).stages;
  for (Shape& shape : shapes) shape.erase(shape.begin());
  return shapes;
}
std::string_view Model::isa() const { return state_->isa; }
Precision Model::precision() const { return state_->precision; }
ThreadPool& Model::pool() const { return *state_->pool; }
std::uint64_t Model::weight_bytes() const { return state_->executable->weight_bytes(); }

}  // namespace convnext
