#include "engine/picture_batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr int kPictureChannels = 3;

}  // namespace

void require_pictures(const Model& model) {
  if (model.input_channels() == kPictureChannels) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("a picture has 3 channels, and this {} takes {}: run it on a tensor instead",
                          model.architecture(), model.input_channels()));
}

void require_classifier(const Model& model) {
  if (model.classes() > 0) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("this {} has no classifier: it embeds, but does not classify", model.architecture()));
}

int picture_batch_size(int resolution) {
  constexpr std::int64_t kMaxBatch = 16;
  constexpr std::int64_t kMaxBytes = std::int64_t{64} << 20;
  const std::int64_t picture_bytes = std::int64_t{kPictureChannels * sizeof(float)} * resolution * resolution;
  return static_cast<int>(std::clamp<std::int64_t>(kMaxBytes / picture_bytes, 1, kMaxBatch));
}

void prepare_pictures(const Preprocessing& preprocessing, ThreadPool& pool, std::size_t count, const PictureAt& picture,
                      std::span<float> out) {
  const std::size_t values = count > 0 ? out.size() / count : 0;
  pool.run(static_cast<int>(count), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    preprocess(picture(i), preprocessing, out.subspan(i * values, values));
  });
}

void run_pictures(const Model& model, Context& context, std::size_t count, const PictureAt& picture,
                  const Wanted& wanted, const std::function<void(std::size_t first, const Outputs& outputs)>& take) {
  require_pictures(model);
  const Preprocessing& preprocessing = model.preprocessing();
  const std::int64_t side = preprocessing.resolution;
  const auto batch_size = static_cast<std::size_t>(picture_batch_size(preprocessing.resolution));
  std::size_t first = 0;
  do {
    const std::size_t n = std::min(batch_size, count - first);
    Tensor input = Tensor::zeros({static_cast<std::int64_t>(n), kPictureChannels, side, side});
    const auto of_batch = [&](std::size_t i) -> const Image& { return picture(first + i); };
    prepare_pictures(preprocessing, context.pool(), n, of_batch, input.values<float>());
    take(first, model.run(std::as_const(input).view(Layout::kNchw), context, wanted));
    first += n;
  } while (first < count);
}

}  // namespace convnext
