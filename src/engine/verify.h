// The check vector of a model: made when a file is written, computed again by whoever reads it.
#pragma once

#include "convnext/thread_pool.h"
#include "engine/backend.h"
#include "model/card.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace convnext {

// Relative L2 error that a check vector may show: another machine adds in another order, which is worth 1e-6, and a
// wrong layer is worth 1e-3 and more.
inline constexpr double kCheckTolerance = 5e-5;

// What the model makes of formula_picture(width, height, 1), whose width is 5/4 of the resolution and whose height is
// the resolution, so that resizing and cropping are checked too. A network that does not take three channels is given
// formula_input("check", (1, channels, height, width), 1) instead. Computed in float32 from the weights as stored.
// Throws Error (kDamaged) when the network gives an infinity or a NaN.
CheckVector make_check_vector(const Card& card, const WeightStore& weights, ThreadPool* pool = nullptr);
// By another backend than make_cpu_backend().
CheckVector make_check_vector(const Card& card, const WeightStore& weights, const Backend& backend,
                              ThreadPool* pool = nullptr);

struct Verification {
  double relative_error = 0.0;  // of the computed vector against the card's: |a - b| / |b|, L2
  bool passed = false;          // relative_error < kCheckTolerance; false for a NaN
};

// Throws Error (kNotFound) when the file has no check vector, kMismatch when it is one of another length.
Verification verify(const Checkpoint& checkpoint, ThreadPool* pool = nullptr);
Verification verify(const Checkpoint& checkpoint, const Backend& backend, ThreadPool* pool = nullptr);

}  // namespace convnext
