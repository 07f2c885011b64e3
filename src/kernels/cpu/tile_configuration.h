// AMX's eight tile registers as the kernels use them: four of sums, two of inputs and two of weights, so that two tiles
// of rows meet two of columns. For functions that are compiled for "amx-tile".
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <utility>

namespace convnext::cpu {

inline constexpr int kTileRows = 16;
inline constexpr int kTileBytes = 64;  // of a row

// What LDTILECFG reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 0;  // 0: no tiles
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// Sums 0 and 1 and inputs 4 belong to the upper rows, sums 2 and 3 and inputs 5 to the lower ones, weights 6 and 7 to
// the left and the right columns.
inline constexpr TileShapes tile_shapes(int upper_rows, int lower_rows) {
  TileShapes shapes;
  shapes.palette = 1;
  for (int tile = 0; tile < 8; ++tile) {
    const bool weights = tile >= 6;
    const bool upper = tile < 2 || tile == 4;
    shapes.row_bytes[tile] = kTileBytes;
    shapes.rows[tile] = static_cast<std::uint8_t>(weights ? kTileRows : upper ? upper_rows : lower_rows);
  }
  return shapes;
}

// Compilers take LDTILECFG and STTILECFG for instructions of 8 bytes: without the fences they would drop the rest.
__attribute__((target("amx-tile"), always_inline)) inline void load_tile_shapes(const TileShapes& shapes) {
  asm volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
}
__attribute__((target("amx-tile"), always_inline)) inline void store_tile_shapes(TileShapes& shapes) {
  _tile_storeconfig(&shapes);
  asm volatile("" : : "r"(&shapes) : "memory");
}

}  // namespace convnext::cpu
