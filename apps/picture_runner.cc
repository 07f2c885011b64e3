#include "apps/picture_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>

#include "convnext/error.h"
#include "engine/picture_batches.h"
#include "io/image_folder.h"

namespace convnext::apps {
namespace fs = std::filesystem;

PictureRunner::PictureRunner(const Model& model, PictureOutput output, int batch_size,
                             const DecodeOptions& decode_options, Take take, const Model* other)
    : model_(model),
      other_(other),
      output_(output),
      take_(std::move(take)),
      decode_options_(decode_options),
      context_(model),
      batch_size_(static_cast<std::size_t>(batch_size == 0 ? picture_batch_size(model.preprocessing().resolution)
                                                           : batch_size)) {}

void PictureRunner::add(PictureFile picture, int target) {
  batch_.push_back({.picture = std::move(picture), .target = target, .error = {}, .input = {}});
  if (batch_.size() >= batch_size_) finish();
}

void PictureRunner::add_failed(fs::path file, std::string error) {
  batch_.push_back(
      {.picture = {.path = std::move(file), .member = {}}, .target = 0, .error = std::move(error), .input = {}});
}

// Only what is wrong with a picture is kept as its error: a model that takes no pictures ends everything.
void PictureRunner::decode(Entry& entry) const {
  if (!entry.error.empty()) return;
  Image image;
  try {
    image = open_picture(entry.picture, decode_options_);
  } catch (const Error& error) {
    entry.error = error.what();
    return;
  } catch (const std::bad_alloc&) {
    entry.error = fmt::format("there is not enough memory for '{}'", entry.picture.name());
    return;
  }
  entry.input = model_.preprocess(image);
}

Tensor PictureRunner::outputs_of(const Model& model, const Tensor& input) {
  const Wanted wanted = {
      .logits = output_ == PictureOutput::kLogits, .pooled = output_ == PictureOutput::kPooled, .stages = false};
  Outputs outputs = model.run(input.view(Layout::kNchw), context_, wanted);
  return std::move(wanted.logits ? outputs.logits : outputs.pooled);
}

void PictureRunner::finish() {
  if (batch_.empty()) return;
  model_.pool().run(static_cast<int>(batch_.size()),
                    [this](int i, int) { decode(batch_[static_cast<std::size_t>(i)]); });

  const auto good = std::ranges::count_if(batch_, [](const Entry& entry) { return entry.error.empty(); });
  const int side = model_.preprocessing().resolution;
  Tensor input = Tensor::zeros({good, 3, side, side});
  auto at = input.values<float>().begin();
  for (Entry& entry : batch_) {
    if (!entry.error.empty()) continue;
    at = std::ranges::copy(entry.input.values<float>(), at).out;
    entry.input = Tensor();
  }
  const Tensor results = outputs_of(model_, input);
  const Tensor others = other_ == nullptr ? Tensor() : outputs_of(*other_, input);
  const auto row_of = [](const Tensor& tensor, std::size_t row) {
    const auto width = static_cast<std::size_t>(tensor.shape()[1]);
    return tensor.values<float>().subspan(row * width, width);
  };

  std::size_t row = 0;
  for (const Entry& entry : batch_) {
    ++done_;
    if (!entry.error.empty()) {
      ++failed_;
      take_({.file = entry.picture.path, .target = entry.target, .error = entry.error, .values = {}});
      continue;
    }
    PictureResult result{
        .file = entry.picture.path, .target = entry.target, .error = {}, .values = row_of(results, row)};
    if (other_ != nullptr) result.other = row_of(others, row);
    ++row;
    take_(result);
  }
  batch_.clear();
}

void visit_inputs(const std::vector<std::string>& inputs, const VisitInput& visit) {
  for (const std::string& input : inputs) {
    std::error_code ignored;
    if (!fs::is_directory(input, ignored)) {
      visit(input, {});
      continue;
    }
    bool empty = true;
    std::exception_ptr stopped;  // by what was done with a picture, not by the folder
    try {
      walk_pictures(input, [&](const fs::path& file) {
        empty = false;
        try {
          visit(file, {});
        } catch (...) {
          stopped = std::current_exception();
        }
        return !stopped;
      });
    } catch (const Error& error) {
      visit(input, error.what());
      continue;
    }
    if (stopped) std::rethrow_exception(stopped);
    if (empty) visit(input, fmt::format("the folder '{}' holds no pictures (jpg, jpeg, png, webp)", input));
  }
}

void add_inputs(const std::vector<std::string>& inputs, PictureRunner& runner) {
  visit_inputs(inputs, [&runner](const fs::path& file, const std::string& error) {
    if (error.empty()) {
      runner.add(file);
    } else {
      runner.add_failed(file, error);
    }
  });
  runner.finish();
}

std::int64_t count_inputs(const std::vector<std::string>& inputs) {
  std::int64_t count = 0;
  visit_inputs(inputs, [&count](const fs::path&, const std::string&) { ++count; });
  return count;
}

}  // namespace convnext::apps
