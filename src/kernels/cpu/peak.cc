#include "kernels/peak.h"

#include <chrono>
#include <cstdint>

#include "core/cpu_features.h"
#include "kernels/cpu/targets.h"

#if HWY_TARGETS & (HWY_AVX2 | HWY_AVX3)
#include <immintrin.h>

#include "kernels/cpu/tile_configuration.h"
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/peak.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Independent sums: more than any core has on the way at once.
constexpr int kChains = 12;

// `repeats` times kChains multiply-adds of a vector; returns how many operations that is. `sum` goes in and comes out,
// so that the compiler can leave nothing out.
double float_burst(std::int64_t repeats, float* sum) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> chains[kChains];
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) chains[i] = hn::Set(d, *sum + static_cast<float>(i));
  const auto factor = hn::Set(d, 0.999f);
  const auto term = hn::Set(d, 0.5f);
  for (std::int64_t r = 0; r < repeats; ++r) {
    CONVNEXT_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = hn::MulAdd(chains[i], factor, term);
  }
  auto total = hn::Zero(d);
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) total = hn::Add(total, chains[i]);
  *sum = hn::GetLane(hn::SumOfLanes(d, total));
  return 2.0 * kChains * static_cast<double>(hn::Lanes(d)) * static_cast<double>(repeats);
}

using VI32 = hn::Vec<hn::ScalableTag<std::int32_t>>;

// sum + products of 8 bits with 8 in each 32-bit lane, where `kProducts` of them are taken at once.
#if HWY_TARGET == HWY_AVX2
constexpr int kProducts = 4;
HWY_INLINE VI32 add_products(VI32 x, VI32 weights, VI32 sum) {
  const __m256i pairs = _mm256_maddubs_epi16(x.raw, weights.raw);
  return hn::Add(sum, VI32{_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))});
}
#elif HWY_TARGET == HWY_AVX3
constexpr int kProducts = 4;
HWY_INLINE VI32 add_products(VI32 x, VI32 weights, VI32 sum) {
  const __m512i pairs = _mm512_maddubs_epi16(x.raw, weights.raw);
  return hn::Add(sum, VI32{_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))});
}
#else
constexpr int kProducts = 2;
HWY_INLINE VI32 add_products(VI32 x, VI32 weights, VI32 sum) {
  const hn::ScalableTag<std::int16_t> d;
  auto unused = hn::Zero(hn::ScalableTag<std::int32_t>());
  return hn::ReorderWidenMulAccumulate(hn::ScalableTag<std::int32_t>(), hn::BitCast(d, x), hn::BitCast(d, weights), sum,
                                       unused);
}
#endif

// The same for integers. Each sum is a factor of its next product: a product that stays the same would be computed
// once. The loop is unrolled because g++ copies every sum at its end.
double integer_burst(std::int64_t repeats, float* sum) {
  constexpr int kSums = 10;
  constexpr int kTurns = 8;
  const hn::ScalableTag<std::int32_t> d;
  VI32 chains[kSums];
  CONVNEXT_UNROLL
  for (int i = 0; i < kSums; ++i) chains[i] = hn::Set(d, static_cast<std::int32_t>(*sum) + i);
  const VI32 weights = hn::Set(d, 0x03020301);
  for (std::int64_t r = 0; r < repeats; ++r) {
    CONVNEXT_UNROLL
    for (int turn = 0; turn < kTurns; ++turn) {
      CONVNEXT_UNROLL
      for (int i = 0; i < kSums; ++i) chains[i] = add_products(chains[i], weights, chains[i]);
    }
  }
  VI32 total = hn::Zero(d);
  CONVNEXT_UNROLL
  for (int i = 0; i < kSums; ++i) total = hn::Add(total, chains[i]);
  *sum = static_cast<float>(hn::GetLane(hn::SumOfLanes(d, total)) & 1023);
  return 2.0 * kTurns * kSums * kProducts * static_cast<double>(hn::Lanes(d)) * static_cast<double>(repeats);
}

#if HWY_TARGET == HWY_AVX3

// Highway has none of these instructions in the targets that we compile for.
__attribute__((target("avx512vnni"))) double vnni_burst(std::int64_t repeats, float* sum) {
  __m512i chains[kChains];
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_epi32(static_cast<std::int32_t>(*sum) + i);
  const __m512i bytes = _mm512_set1_epi8(3);
  for (std::int64_t r = 0; r < repeats; ++r) {
    CONVNEXT_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = _mm512_dpbusd_epi32(chains[i], bytes, bytes);
  }
  CONVNEXT_UNROLL
  for (int i = 1; i < kChains; ++i) chains[0] = _mm512_add_epi32(chains[0], chains[i]);
  std::int32_t lanes[16];
  _mm512_storeu_si512(lanes, chains[0]);
  *sum = static_cast<float>(lanes[0] & 1023);
  return 2.0 * kChains * 64 * static_cast<double>(repeats);
}

__attribute__((target("avx512bf16"))) double bf16_burst(std::int64_t repeats, float* sum) {
  __m512 chains[kChains];
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_ps(*sum + static_cast<float>(i));
  const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
  for (std::int64_t r = 0; r < repeats; ++r) {
    CONVNEXT_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = _mm512_dpbf16_ps(chains[i], pairs, pairs);
  }
  CONVNEXT_UNROLL
  for (int i = 1; i < kChains; ++i) chains[0] = _mm512_add_ps(chains[0], chains[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, chains[0]);
  *sum = lanes[0];
  return 2.0 * kChains * 32 * static_cast<double>(repeats);
}

// Two tiles of rows by two of columns, which stay in their registers: 1/16 of the repeats, for each product is 16 times
// a vector's.
template <bool kIntegers>
__attribute__((target(HWY_TARGET_STR ",amx-tile,amx-bf16,amx-int8"))) double tile_burst(std::int64_t repeats,
                                                                                        float* sum) {
  TileShapes before;
  store_tile_shapes(before);
  const TileShapes shapes = tile_shapes(kTileRows, kTileRows);
  load_tile_shapes(shapes);
  alignas(64) std::uint8_t bytes[kTileRows * kTileBytes];
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(*sum);
  asm volatile("" : : "r"(bytes) : "memory");  // the compiler does not know that tiles are loaded from memory
  _tile_loadd(4, bytes, kTileBytes);
  _tile_loadd(5, bytes, kTileBytes);
  _tile_loadd(6, bytes, kTileBytes);
  _tile_loadd(7, bytes, kTileBytes);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const std::int64_t turns = repeats / 16;
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    if constexpr (kIntegers) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(3, bytes, kTileBytes);
  *sum = static_cast<float>(bytes[0] & 15);
  load_tile_shapes(before);
  constexpr double kInputs = kIntegers ? 64 : 32;
  return 2.0 * 4 * kTileRows * 16 * kInputs * static_cast<double>(turns);
}

double int8_tile_burst(std::int64_t repeats, float* sum) { return tile_burst<true>(repeats, sum); }
double bf16_tile_burst(std::int64_t repeats, float* sum) { return tile_burst<false>(repeats, sum); }

#endif

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext::cpu {
namespace {

using Burst = double (*)(std::int64_t repeats, float* sum);

Burst float_burst_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, float_burst); }
Burst integer_burst_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, integer_burst); }

// Null where there is no such instruction.
Burst dot_burst_for([[maybe_unused]] Isa isa, [[maybe_unused]] Arithmetic arithmetic) {
#if HWY_TARGETS & HWY_AVX3
  const bool integers = arithmetic == Arithmetic::kInt8;
  if (arithmetic == Arithmetic::kFloat) return nullptr;
  if (isa == Isa::kAmx) return integers ? N_AVX3::int8_tile_burst : N_AVX3::bf16_tile_burst;
  if (isa == Isa::kAvx512Bf16) return integers ? N_AVX3::vnni_burst : N_AVX3::bf16_burst;
  if (isa == Isa::kAvx512 && integers && cpu_features().avx512_vnni) return N_AVX3::vnni_burst;
#endif
  return nullptr;
}

Burst burst_for(Isa isa, Arithmetic arithmetic) {
  if (const Burst dot = dot_burst_for(isa, arithmetic)) return dot;
  return arithmetic == Arithmetic::kInt8 ? integer_burst_for(isa) : float_burst_for(isa);
}

}  // namespace

double measure_peak(Isa isa, Arithmetic arithmetic) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kRepeats = 20'000;
  constexpr std::chrono::duration<double> kLength(0.003);
  const Burst burst = burst_for(isa, arithmetic);
  volatile float seed = 1.0f;
  float sum = seed;
  double operations = 0;
  const Clock::time_point start = Clock::now();
  std::chrono::duration<double> time{};
  do {
    operations += burst(kRepeats, &sum);
    time = Clock::now() - start;
  } while (time < kLength);
  seed = sum;
  return operations * 1e-9 / time.count();
}

}  // namespace convnext::cpu
#endif
