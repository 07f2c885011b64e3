// libtorch behind the same seam as the engine: it runs every family of networks, and ConvNeXt as a second opinion.
//
//   auto executable = make_libtorch_backend()->compile(config, weights, Precision::kFp32);
//
// Thread safety: as of any backend; runs at the same time share the module, which they only read. A run is given as
// many of libtorch's own threads as the workspace's pool has: one without a pool. These counts are kept by the calling
// thread, so that contexts with pools of different sizes do not disturb one another, and set back after the run.
//
// A picture's outputs depend on what shares its batch, by libtorch's rounding alone: sizes decide in which order it
// adds, which is worth some 1e-7, relative. The engine's do not.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/backend.h"

namespace convnext {

// What the maps of a run may take, about.
inline constexpr std::uint64_t kLibtorchMapBytes = std::uint64_t{512} << 20;

// Named "libtorch"; computes in fp32. All outputs are computed whatever is wanted; the others are not copied. A batch
// goes through in slices, of as many pictures as keep their maps within `map_bytes`, and of one at least: a folder of
// large pictures would not fit the memory otherwise.
std::unique_ptr<Backend> make_libtorch_backend(std::uint64_t map_bytes = kLibtorchMapBytes);

}  // namespace convnext
