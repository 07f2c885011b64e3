#include "convnext/c_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/convnext.h"
#include "engine/model_loading.h"
#include "engine/picture_batches.h"

struct convnext_model {
  explicit convnext_model(convnext::Model loaded);

  convnext::Model model;
  std::vector<std::string> class_names;  // a C caller is given pointers to these
};

struct convnext_context {
  convnext::Context context;
};

struct convnext_image {
  convnext::Image image;
};

convnext_model::convnext_model(convnext::Model loaded) : model(std::move(loaded)), class_names(model.labels()) {
  for (int i = static_cast<int>(class_names.size()); i < model.classes(); ++i) {
    class_names.push_back(fmt::format("class {}", i));
  }
}

namespace convnext {
namespace {

static_assert(sizeof(convnext_error) == 1024);

struct Cancelled {};

convnext_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return CONVNEXT_INVALID_ARGUMENT;
    case ErrorCode::kNotFound:
      return CONVNEXT_NOT_FOUND;
    case ErrorCode::kIo:
      return CONVNEXT_IO;
    case ErrorCode::kDamaged:
      return CONVNEXT_DAMAGED;
    case ErrorCode::kMismatch:
      return CONVNEXT_MISMATCH;
    case ErrorCode::kUnsupported:
      return CONVNEXT_UNSUPPORTED;
    case ErrorCode::kNotInstalled:
      return CONVNEXT_NOT_INSTALLED;
  }
  return CONVNEXT_INTERNAL;
}

bool continues_a_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

convnext_status report(convnext_error* error, convnext_status status, std::string_view message) {
  if (error == nullptr) return status;
  std::size_t size = std::min(message.size(), sizeof(error->message) - 1);
  if (size < message.size()) {
    while (size > 0 && continues_a_character(message[size])) --size;
  }
  error->status = status;
  message.copy(error->message, size);
  error->message[size] = '\0';
  return status;
}

// What `body` throws becomes a status.
template <typename Body>
convnext_status guarded(convnext_error* error, const Body& body) noexcept {
  try {
    body();
    return report(error, CONVNEXT_OK, {});
  } catch (const Error& failure) {
    return report(error, status_of(failure.code()), failure.what());
  } catch (const Cancelled&) {
    return report(error, CONVNEXT_CANCELLED, "cancelled by the progress function");
  } catch (const std::bad_alloc&) {
    return report(error, CONVNEXT_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::length_error&) {
    return report(error, CONVNEXT_OUT_OF_MEMORY, "that is more than memory can hold");
  } catch (const std::exception& failure) {
    return report(error, CONVNEXT_INTERNAL, failure.what());
  } catch (...) {
    return report(error, CONVNEXT_INTERNAL, "an exception of an unknown type");
  }
}

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

template <typename T>
T& required(T* pointer, std::string_view name) {
  if (pointer == nullptr) refuse(fmt::format("{} is NULL", name));
  return *pointer;
}

// The place of a handle that is to be made, NULL until it is.
template <typename Handle>
Handle*& place(Handle** handle, std::string_view name) {
  required(handle, name) = nullptr;
  return *handle;
}

std::string text(const char* value) { return value == nullptr ? std::string() : std::string(value); }

std::optional<Precision> precision_of(int precision) {
  switch (precision) {
    case CONVNEXT_PRECISION_DEFAULT:
      return {};
    case CONVNEXT_PRECISION_FP32:
      return Precision::kFp32;
    case CONVNEXT_PRECISION_BF16:
      return Precision::kBf16;
    case CONVNEXT_PRECISION_INT8:
      return Precision::kInt8;
  }
  refuse(fmt::format("{} is no convnext_precision", precision));
}

convnext_precision to_c(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return CONVNEXT_PRECISION_FP32;
    case Precision::kBf16:
      return CONVNEXT_PRECISION_BF16;
    case Precision::kInt8:
      return CONVNEXT_PRECISION_INT8;
  }
  return CONVNEXT_PRECISION_DEFAULT;
}

FileLimits file_limits(const convnext_file_limits& given) {
  FileLimits limits;
  const auto take = [](std::int64_t value, std::int64_t& limit) {
    if (value != 0) limit = value;
  };
  take(given.max_header_bytes, limits.max_header_bytes);
  take(given.max_nesting, limits.max_nesting);
  take(given.max_tensors, limits.max_tensors);
  take(given.max_memo, limits.max_memo);
  take(given.max_zip_ratio, limits.max_zip_ratio);
  return limits;
}

LoadOptions load_options(const convnext_load_options* given) {
  LoadOptions options;
  if (given == nullptr) return options;
  options.architecture = text(given->architecture);
  options.isa = text(given->isa);
  options.precision = precision_of(given->precision);
  options.threads = given->threads;
  if (given->threads_of != nullptr) {
    if (given->threads != 0) refuse(fmt::format("threads is {}, and threads_of is given too", given->threads));
    options.pool = ModelLoading::pool_of(given->threads_of->model);
  }
  options.file_limits = file_limits(given->file_limits);
  if (given->log != nullptr) {
    options.log = [log = given->log, user = given->user](std::string_view line) {
      log(std::string(line).c_str(), user);
    };
  }
  if (given->progress != nullptr) {
    options.progress = [progress = given->progress, user = given->user](double part) {
      if (progress(part, user) != 0) throw Cancelled();
    };
  }
  return options;
}

DecodeOptions decode_options(const convnext_decode_options* given) {
  DecodeOptions options;
  if (given == nullptr) return options;
  if (given->max_pixels < 0) refuse(fmt::format("max_pixels is {}, expected 0 or more", given->max_pixels));
  if (given->max_pixels > 0) options.max_pixels = given->max_pixels;
  options.exif_orientation = given->exif_orientation != 0;
  return options;
}

// The names that cards use are literals: they end with a zero.
const char* name_in_c(std::string_view name) { return name.data(); }

// The caller's context, or one for this call.
class UsedContext {
 public:
  UsedContext(const Model& model, convnext_context* given) {
    if (given == nullptr) own_.emplace(model);
    context_ = given == nullptr ? &*own_ : &given->context;
  }
  Context& operator*() const { return *context_; }

 private:
  std::optional<Context> own_;
  Context* context_ = nullptr;
};

// The pictures of a call, none of them NULL.
class Pictures {
 public:
  Pictures(const convnext_image* const* images, std::size_t count) : images_(images), count_(count) {
    if (count > 0) required(images, "images");
    for (std::size_t i = 0; i < count; ++i) {
      if (images[i] == nullptr) refuse(fmt::format("images[{}] is NULL", i));
    }
  }
  std::size_t count() const { return count_; }
  const Image& operator()(std::size_t i) const { return images_[i]->image; }

 private:
  const convnext_image* const* images_;
  std::size_t count_;
};

// Room for `count` rows of `row` floats in a buffer of the caller's.
void require_room(const convnext_buffer& buffer, std::size_t count, std::size_t row, const std::string& name) {
  std::size_t needed = 0;
  const bool too_many = __builtin_mul_overflow(count, row, &needed);
  if (too_many || buffer.size < needed) {
    refuse(fmt::format("{} has room for {} floats, and {} x {} are written", name, buffer.size, count, row));
  }
  if (needed > 0) required(buffer.data, name);
}

// Rows of a batch to their place, `first` rows into the buffer.
void store(const Tensor& rows, std::size_t first, const convnext_buffer& buffer) {
  const auto values = rows.values<float>();
  if (values.empty()) return;
  const std::size_t row = values.size() / static_cast<std::size_t>(rows.shape()[0]);
  std::ranges::copy(values, buffer.data + first * row);
}

// Checks the buffers of a call's maps. Gives whether any is wanted.
bool require_maps(const Model& model, const convnext_buffer* maps, std::size_t stages, std::size_t count,
                  std::int64_t height, std::int64_t width) {
  if (maps == nullptr && stages == 0) return false;
  required(maps, "maps");
  const std::vector<Shape> shapes = model.feature_shapes(height, width);
  if (stages != shapes.size()) {
    refuse(fmt::format("{} maps are given, and this {} has {} stages", stages, model.architecture(), shapes.size()));
  }
  bool any = false;
  for (std::size_t i = 0; i < stages; ++i) {
    if (maps[i].data == nullptr) continue;
    any = true;
    require_room(maps[i], count, static_cast<std::size_t>(element_count(shapes[i])), fmt::format("maps[{}]", i));
  }
  return any;
}

void require_top_k(int top_k) {
  if (top_k < 1) refuse(fmt::format("top_k is {}, expected 1 or more", top_k));
}

// The best classes of rows of logits, the first of which is row `first` of the call.
void store_predictions(const convnext_model& handle, std::span<const float> logits, std::size_t first, int top_k,
                       convnext_prediction* predictions) {
  const auto classes = static_cast<std::size_t>(handle.model.classes());
  const auto places = static_cast<std::size_t>(top_k);
  for (std::size_t at = 0; at < logits.size(); at += classes, ++first) {
    const std::vector<Prediction> best = handle.model.predictions(logits.subspan(at, classes), top_k);
    for (std::size_t place = 0; place < places; ++place) {
      convnext_prediction& out = predictions[first * places + place];
      out = {.index = -1, .probability = 0.0f, .label = nullptr};
      if (place >= best.size()) continue;
      const auto index = static_cast<std::size_t>(best[place].index);
      out = {best[place].index, best[place].probability, handle.class_names[index].c_str()};
    }
  }
}

}  // namespace
}  // namespace convnext

using namespace convnext;

const char* convnext_status_name(convnext_status status) {
  switch (status) {
    case CONVNEXT_OK:
      return "ok";
    case CONVNEXT_INVALID_ARGUMENT:
      return "invalid argument";
    case CONVNEXT_NOT_FOUND:
      return "not found";
    case CONVNEXT_IO:
      return "input or output";
    case CONVNEXT_DAMAGED:
      return "damaged";
    case CONVNEXT_MISMATCH:
      return "mismatch";
    case CONVNEXT_UNSUPPORTED:
      return "unsupported";
    case CONVNEXT_NOT_INSTALLED:
      return "not installed";
    case CONVNEXT_OUT_OF_MEMORY:
      return "out of memory";
    case CONVNEXT_CANCELLED:
      return "cancelled";
    case CONVNEXT_INTERNAL:
      return "internal";
  }
  return "unknown";
}

const char* convnext_version(void) { return CONVNEXT_VERSION; }

convnext_status convnext_model_load(const char* path, const convnext_load_options* options, convnext_model** model,
                                    convnext_error* error) {
  return guarded(error, [&] {
    convnext_model*& made = place(model, "model");
    made = new convnext_model(Model::load(&required(path, "path"), load_options(options)));
  });
}

void convnext_model_free(convnext_model* model) { delete model; }

convnext_status convnext_model_describe(const convnext_model* model, convnext_description* description,
                                        convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    required(description, "description") = {.architecture = of.architecture().c_str(),
                                            .isa = name_in_c(of.isa()),
                                            .precision = to_c(of.precision()),
                                            .classes = of.classes(),
                                            .has_labels = of.labels().empty() ? 0 : 1,
                                            .resolution = of.preprocessing().resolution,
                                            .input_channels = of.input_channels(),
                                            .embedding_channels = of.embedding_channels(),
                                            .stages = of.stages(),
                                            .threads = of.pool().threads(),
                                            .weight_bytes = of.weight_bytes()};
  });
}

convnext_status convnext_model_label(const convnext_model* model, int index, const char** label,
                                     convnext_error* error) {
  return guarded(error, [&] {
    const std::vector<std::string>& names = required(model, "model").class_names;
    required(label, "label") = nullptr;
    if (index < 0 || static_cast<std::size_t>(index) >= names.size()) {
      throw Error(ErrorCode::kNotFound, fmt::format("there is no class {}: the model has {}", index, names.size()));
    }
    *label = names[static_cast<std::size_t>(index)].c_str();
  });
}

convnext_status convnext_model_feature_shape(const convnext_model* model, int stage, int64_t height, int64_t width,
                                             int64_t shape[3], convnext_error* error) {
  return guarded(error, [&] {
    const std::vector<Shape> shapes = required(model, "model").model.feature_shapes(height, width);
    required(shape, "shape");
    if (stage < 0 || static_cast<std::size_t>(stage) >= shapes.size()) {
      refuse(fmt::format("there is no stage {}: the model has {}", stage, shapes.size()));
    }
    std::ranges::copy(shapes[static_cast<std::size_t>(stage)], shape);
  });
}

convnext_status convnext_model_preprocessing(const convnext_model* model, convnext_preprocessing* preprocessing,
                                             convnext_error* error) {
  return guarded(error, [&] {
    const Preprocessing& from = required(model, "model").model.preprocessing();
    convnext_preprocessing& to = required(preprocessing, "preprocessing");
    to.resolution = from.resolution;
    std::ranges::copy(from.mean, to.mean);
    std::ranges::copy(from.std, to.std);
    to.crop_fraction = from.crop_fraction;
    to.interpolation = name_in_c(name_of(from.interpolation));
    to.crop_mode = name_in_c(name_of(from.crop_mode));
    to.pipeline = name_in_c(name_of(from.pipeline));
  });
}

convnext_status convnext_model_with_preprocessing(const convnext_model* model,
                                                  const convnext_preprocessing* preprocessing, convnext_model** changed,
                                                  convnext_error* error) {
  return guarded(error, [&] {
    convnext_model*& made = place(changed, "changed");
    const Model& of = required(model, "model").model;
    const convnext_preprocessing& from = required(preprocessing, "preprocessing");
    Preprocessing to;
    to.resolution = from.resolution;
    std::ranges::copy(from.mean, to.mean.begin());
    std::ranges::copy(from.std, to.std.begin());
    to.crop_fraction = from.crop_fraction;
    to.interpolation = interpolation_from_name(&required(from.interpolation, "interpolation"));
    to.crop_mode = crop_mode_from_name(&required(from.crop_mode, "crop_mode"));
    to.pipeline = pixel_pipeline_from_name(&required(from.pipeline, "pipeline"));
    made = new convnext_model(of.with_preprocessing(to));
  });
}

convnext_status convnext_model_with_labels(const convnext_model* model, const char* const* labels, size_t count,
                                           convnext_model** changed, convnext_error* error) {
  return guarded(error, [&] {
    convnext_model*& made = place(changed, "changed");
    const Model& of = required(model, "model").model;
    if (count > 0) required(labels, "labels");
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) names.emplace_back(&required(labels[i], fmt::format("labels[{}]", i)));
    made = new convnext_model(of.with_labels(std::move(names)));
  });
}

convnext_status convnext_image_open(const char* path, const convnext_decode_options* options, convnext_image** image,
                                    convnext_error* error) {
  return guarded(error, [&] {
    convnext_image*& made = place(image, "image");
    made = new convnext_image{Image::open(&required(path, "path"), decode_options(options))};
  });
}

convnext_status convnext_image_decode(const void* bytes, size_t size, const convnext_decode_options* options,
                                      convnext_image** image, convnext_error* error) {
  return guarded(error, [&] {
    convnext_image*& made = place(image, "image");
    const auto* const start = static_cast<const std::byte*>(bytes);
    if (size > 0) required(start, "bytes");
    made = new convnext_image{Image::decode({start, size}, "the picture in memory", decode_options(options))};
  });
}

convnext_status convnext_image_from_rgb(const uint8_t* pixels, int width, int height, size_t stride,
                                        convnext_image** image, convnext_error* error) {
  return guarded(error, [&] {
    convnext_image*& made = place(image, "image");
    required(pixels, "pixels");
    // C callers give no size: from the sides follows how far the last row reaches.
    std::size_t size = 0;
    if (width > 0 && height > 0) {
      const std::size_t row = std::size_t{3} * static_cast<std::size_t>(width);
      if (__builtin_mul_overflow(stride == 0 ? row : stride, static_cast<std::size_t>(height - 1), &size) ||
          __builtin_add_overflow(size, row, &size)) {
        refuse(fmt::format("{} rows of {} bytes are more than an address can tell", height, stride));
      }
    }
    made =
        new convnext_image{Image::from_rgb({reinterpret_cast<const std::byte*>(pixels), size}, width, height, stride)};
  });
}

void convnext_image_free(convnext_image* image) { delete image; }

int convnext_image_width(const convnext_image* image) { return image == nullptr ? 0 : image->image.width; }

int convnext_image_height(const convnext_image* image) { return image == nullptr ? 0 : image->image.height; }

const uint8_t* convnext_image_pixels(const convnext_image* image) {
  return image == nullptr ? nullptr : image->image.pixels.data();
}

convnext_status convnext_context_new(const convnext_model* model, int threads, convnext_context** context,
                                     convnext_error* error) {
  return guarded(error, [&] {
    convnext_context*& made = place(context, "context");
    const Model& of = required(model, "model").model;
    made = new convnext_context{threads == 0 ? Context(of) : Context(of, threads)};
  });
}

void convnext_context_free(convnext_context* context) { delete context; }

convnext_status convnext_classify(const convnext_model* model, convnext_context* context,
                                  const convnext_image* const* images, size_t count, int top_k,
                                  convnext_prediction* predictions, convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    const Pictures pictures(images, count);
    require_top_k(top_k);
    if (count > 0) required(predictions, "predictions");
    require_classifier(of);
    const UsedContext used(of, context);
    run_pictures(of, *used, count, pictures, {.logits = true, .pooled = false, .stages = false},
                 [&](std::size_t first, const Outputs& outputs) {
                   store_predictions(*model, outputs.logits.values<float>(), first, top_k, predictions);
                 });
  });
}

convnext_status convnext_embed(const convnext_model* model, convnext_context* context,
                               const convnext_image* const* images, size_t count, convnext_buffer embeddings,
                               convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    const Pictures pictures(images, count);
    require_room(embeddings, count, static_cast<std::size_t>(of.embedding_channels()), "embeddings");
    const UsedContext used(of, context);
    run_pictures(of, *used, count, pictures, {.logits = false, .pooled = true, .stages = false},
                 [&](std::size_t first, const Outputs& outputs) { store(outputs.pooled, first, embeddings); });
  });
}

convnext_status convnext_features(const convnext_model* model, convnext_context* context,
                                  const convnext_image* const* images, size_t count, const convnext_buffer* maps,
                                  size_t stages, convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    const Pictures pictures(images, count);
    required(maps, "maps");
    const int side = of.preprocessing().resolution;
    require_maps(of, maps, stages, count, side, side);
    const UsedContext used(of, context);
    run_pictures(of, *used, count, pictures, {.logits = false, .pooled = false, .stages = true},
                 [&](std::size_t first, const Outputs& outputs) {
                   for (std::size_t i = 0; i < stages; ++i) {
                     if (maps[i].data != nullptr) store(outputs.stages[i], first, maps[i]);
                   }
                 });
  });
}

convnext_status convnext_preprocess(const convnext_model* model, convnext_context* context,
                                    const convnext_image* const* images, size_t count, convnext_buffer tensor,
                                    convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    const Pictures pictures(images, count);
    require_pictures(of);
    const auto side = static_cast<std::size_t>(of.preprocessing().resolution);
    require_room(tensor, count, 3 * side * side, "tensor");
    const UsedContext used(of, context);
    prepare_pictures(of.preprocessing(), (*used).pool(), count, pictures, {tensor.data, count * 3 * side * side});
  });
}

convnext_status convnext_run(const convnext_model* model, convnext_context* context, const float* input,
                             const int64_t shape[4], const convnext_outputs* outputs, convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    required(shape, "shape");
    const convnext_outputs& wanted = required(outputs, "outputs");
    ConstTensorView view{.data = reinterpret_cast<const std::byte*>(input),
                         .dtype = DType::kF32,
                         .layout = Layout::kNchw,
                         .shape = {shape, shape + 4},
                         .strides = {}};
    view.strides = contiguous_strides(view.shape);
    if (view.count() > 0) required(input, "input");
    const auto n = static_cast<std::size_t>(shape[0]);
    if (wanted.logits.data != nullptr) {
      require_room(wanted.logits, n, static_cast<std::size_t>(of.classes()), "logits");
    }
    if (wanted.pooled.data != nullptr) {
      require_room(wanted.pooled, n, static_cast<std::size_t>(of.embedding_channels()), "pooled");
    }
    const bool maps = require_maps(of, wanted.maps, wanted.stages, n, shape[2], shape[3]);
    const UsedContext used(of, context);
    const Outputs results =
        of.run(view, *used,
               {.logits = wanted.logits.data != nullptr, .pooled = wanted.pooled.data != nullptr, .stages = maps});
    if (wanted.logits.data != nullptr) store(results.logits, 0, wanted.logits);
    if (wanted.pooled.data != nullptr) store(results.pooled, 0, wanted.pooled);
    for (std::size_t i = 0; i < results.stages.size(); ++i) {
      if (wanted.maps[i].data != nullptr) store(results.stages[i], 0, wanted.maps[i]);
    }
  });
}

convnext_status convnext_predictions(const convnext_model* model, const float* logits, size_t count, int top_k,
                                     convnext_prediction* predictions, convnext_error* error) {
  return guarded(error, [&] {
    const Model& of = required(model, "model").model;
    require_top_k(top_k);
    require_classifier(of);
    if (count == 0) return;
    required(logits, "logits");
    required(predictions, "predictions");
    std::size_t size = 0;
    if (__builtin_mul_overflow(count, static_cast<std::size_t>(of.classes()), &size)) {
      refuse(fmt::format("{} rows of logits are more than an address can tell", count));
    }
    store_predictions(*model, {logits, size}, 0, top_k, predictions);
  });
}
