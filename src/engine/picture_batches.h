// Many pictures through a model, a batch at a time.
#pragma once

#include <cstddef>
#include <functional>

#include "convnext/model.h"

namespace convnext {

// Throws Error (kUnsupported) unless the network takes the three channels of a picture.
void require_pictures(const Model& model);

// Throws Error (kUnsupported) for a network without a classifier.
void require_classifier(const Model& model);

// How many pictures a batch takes where nobody says it: enough for every thread to have work, while the inputs of side
// `resolution` stay within 64 MB.
int picture_batch_size(int resolution);

using PictureAt = std::function<const Image&(std::size_t)>;

// The input tensors of picture(0) to picture(count - 1), made by all threads of the pool. `out` is (count, 3,
// resolution, resolution).
void prepare_pictures(const Preprocessing& preprocessing, ThreadPool& pool, std::size_t count, const PictureAt& picture,
                      std::span<float> out);

// Prepares picture(0) to picture(count - 1) on the context's threads, runs them, and calls `take` with the outputs of
// one batch after the other and the index of its first picture; once, with outputs of no rows, when `count` is 0.
void run_pictures(const Model& model, Context& context, std::size_t count, const PictureAt& picture,
                  const Wanted& wanted, const std::function<void(std::size_t first, const Outputs& outputs)>& take);

}  // namespace convnext
