#include "convnext/model.h"

#include <fmt/format.h>

#include <optional>

#include "convnext/error.h"
#include "engine/backend.h"
#include "metrics/classification.h"
#include "model/checkpoint.h"

namespace convnext {
namespace {

constexpr int kPictureChannels = 3;

void check_input(const ConstTensorView& input, int channels) {
  if (input.dtype != DType::kF32 || input.shape.size() != 4 || input.layout == Layout::kNhwc ||
      !input.is_contiguous()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("the input of a network is a contiguous float32 tensor (n, {}, height, width), not {} {}",
                            channels, name_of(input.dtype), to_string(input.shape)));
  }
  if (input.shape[1] != channels) {
    throw Error(ErrorCode::kMismatch, fmt::format("the input {} has {} channels, and this network takes {}",
                                                  to_string(input.shape), input.shape[1], channels));
  }
}

// The tensor, and the view through which it is filled; without elements it is not asked for.
TensorView allocate(Tensor& tensor, const Shape& shape) {
  tensor = Tensor::zeros(shape);
  TensorView view = tensor.view(shape.size() == 4 ? Layout::kNchw : Layout::kRowMajor);
  if (tensor.count() == 0) view.data = nullptr;
  return view;
}

// A batch of one, without copying.
ConstTensorView as_batch(const Tensor& tensor) {
  ConstTensorView view = tensor.view(Layout::kNchw);
  view.shape.insert(view.shape.begin(), 1);
  view.strides = contiguous_strides(view.shape);
  return view;
}

}  // namespace

struct Model::State {
  Card card;
  std::shared_ptr<const Executable> executable;
  std::string isa;
};

struct Context::State {
  std::optional<ThreadPool> own_pool;
  Workspace workspace;
};

Context::Context(const Model& /*model*/, int threads) : state_(std::make_unique<State>()) {
  state_->own_pool.emplace(threads == 0 ? available_threads() : threads);
  state_->workspace.pool = &*state_->own_pool;
}

Context::Context(const Model& /*model*/, ThreadPool& pool) : state_(std::make_unique<State>()) {
  state_->workspace.pool = &pool;
}

Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

Model Model::load(const std::filesystem::path& path, const LoadOptions& options) {
  Checkpoint checkpoint = read_checkpoint(path, options.architecture);
  const std::unique_ptr<Backend> backend = make_cpu_backend(options.isa);
  auto state = std::make_shared<State>();
  state->executable = backend->compile(checkpoint.card.network, checkpoint.weights, Precision::kFp32);
  state->card = std::move(checkpoint.card);
  state->isa = backend->name();
  return Model(std::move(state));
}

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
  const Tensor input = preprocess(image);
  Context context(*this);
  return predictions(run(as_batch(input), context).logits.values<float>(), top_k);
}

std::vector<float> Model::embed(const Image& image) const {
  const Tensor input = preprocess(image);
  Context context(*this);
  const Outputs outputs = run(as_batch(input), context, {.logits = false, .pooled = true, .stages = false});
  const auto values = outputs.pooled.values<float>();
  return {values.begin(), values.end()};
}

std::vector<Tensor> Model::features(const Image& image) const {
  const Tensor input = preprocess(image);
  Context context(*this);
  return run(as_batch(input), context, {.logits = false, .pooled = false, .stages = true}).stages;
}

Tensor Model::preprocess(const Image& image) const {
  if (input_channels() != kPictureChannels) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a picture has 3 channels, and this {} takes {}: run it on a tensor instead",
                            architecture(), input_channels()));
  }
  return convnext::preprocess(image, preprocessing());
}

Outputs Model::run(const ConstTensorView& input, Context& context, const Wanted& wanted) const {
  check_input(input, input_channels());
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
  if (classes() == 0) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("this {} has no classifier: it embeds, but does not classify", architecture()));
  }
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
std::string_view Model::isa() const { return state_->isa; }
std::uint64_t Model::weight_bytes() const { return state_->executable->weight_bytes(); }

}  // namespace convnext
