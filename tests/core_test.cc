#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <vector>

#include "convnext/error.h"
#include "convnext/tensor.h"
#include "core/arena.h"
#include "core/float16.h"
#include "core/progress.h"
#include "tests/expect_error.h"

namespace convnext {
namespace {

constexpr std::int64_t kHuge = std::int64_t{1} << 40;

TEST(Tensor, CountsElementsOfEveryRank) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({7}), 7);
  EXPECT_EQ(element_count({2, 3, 4}), 24);
  EXPECT_EQ(element_count({2, 0, 4}), 0);
}

TEST(Tensor, RefusesShapesThatOverflowOrAreNegative) {
  EXPECT_THROW(element_count({2, -1}), Error);
  EXPECT_THROW(element_count({kHuge, kHuge}), Error);
  // The zero makes the product small, but not the strides.
  EXPECT_THROW(element_count({kHuge, kHuge, 0}), Error);
  EXPECT_THROW(contiguous_strides({kHuge, kHuge, 0}), Error);
  EXPECT_THROW(Tensor::zeros({std::int64_t{1} << 61}, DType::kF64), Error);
}

TEST(Tensor, StridesAreRowMajor) {
  EXPECT_EQ(contiguous_strides({2, 3, 4}), (Shape{12, 4, 1}));
  EXPECT_EQ(contiguous_strides({}), Shape{});
}

TEST(Tensor, NamesAndSizesOfTypesAgree) {
  EXPECT_EQ(name_of(DType::kBool), "BOOL");
  EXPECT_EQ(name_of(DType::kBF16), "BF16");
  for (const DType dtype : {DType::kU8, DType::kI8, DType::kU16, DType::kI16, DType::kU32, DType::kI32, DType::kU64,
                            DType::kI64, DType::kF16, DType::kBF16, DType::kF32, DType::kF64}) {
    const std::string_view name = name_of(dtype);
    EXPECT_EQ(std::to_string(8 * size_of(dtype)), name.substr(name.find_first_of("0123456789"))) << name;
  }
}

TEST(Tensor, ShapesPrintAsPythonDoes) {
  EXPECT_EQ(to_string(Shape{}), "()");
  EXPECT_EQ(to_string(Shape{5}), "(5,)");
  EXPECT_EQ(to_string(Shape{64, 3, 7, 7}), "(64, 3, 7, 7)");
}

TEST(Tensor, ZerosAreZeroAndViewsSeeWhatIsWritten) {
  Tensor tensor = Tensor::zeros({2, 3});
  for (const float value : tensor.values<float>()) EXPECT_EQ(value, 0.0f);
  tensor.values<float>()[5] = 4.0f;
  const ConstTensorView view = tensor.view();
  EXPECT_TRUE(view.is_contiguous());
  EXPECT_EQ(view.values<float>()[5], 4.0f);
}

TEST(Tensor, AViewWithGapsIsNotContiguous) {
  Tensor tensor = Tensor::zeros({4, 4});
  TensorView view = tensor.view();
  view.shape = {4, 2};
  EXPECT_FALSE(view.is_contiguous());
}

TEST(Arena, SpansAreAlignedAndApart) {
  Arena arena;
  std::vector<std::span<float>> spans;
  for (const std::size_t count : {1, 0, 16, 17, 100'000, 3}) {
    spans.push_back(arena.take<float>(count));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(spans.back().data()) % 64, 0u);
    std::fill(spans.back().begin(), spans.back().end(), static_cast<float>(count));
  }
  for (const auto span : spans) {
    for (const float value : span) ASSERT_EQ(value, static_cast<float>(span.size()));
  }
}

TEST(Arena, TheSecondCallAtAShapeAllocatesNothing) {
  Arena arena;
  const auto call = [&] {
    for (int i = 1; i <= 20; ++i) arena.take<float>(static_cast<std::size_t>(i) * 10'000);
  };
  call();
  arena.reset();
  const std::size_t capacity = arena.capacity();
  const float* const first = arena.take<float>(10'000).data();
  arena.reset();
  call();
  EXPECT_EQ(arena.capacity(), capacity);
  arena.reset();
  EXPECT_EQ(arena.take<float>(10'000).data(), first);
}

TEST(Arena, RefusesCountsWhoseBytesOverflow) {
  Arena arena;
  EXPECT_THROW(arena.take<double>(std::numeric_limits<std::size_t>::max() / 4), std::bad_alloc);
  EXPECT_THROW(arena.take<char>(std::numeric_limits<std::size_t>::max() - 8), std::bad_alloc);
  EXPECT_EQ(arena.take<float>(8).size(), 8u);
}

// The value that IEEE 754 gives a pattern, by arithmetic instead of shifts.
double half_value(std::uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  const int exponent = bits >> 10 & 0x1f;
  const double fraction = bits & 0x3ff;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(Float16, EveryPatternHasItsValueAndComesBack) {
  for (std::uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const float value = float16_to_float(bits);
    if ((bits & 0x7c00) == 0x7c00) {
      if ((bits & 0x3ff) == 0) {
        ASSERT_TRUE(std::isinf(value));
        ASSERT_EQ(float_to_float16(value), bits);
      } else {
        ASSERT_TRUE(std::isnan(value));
        ASSERT_TRUE(std::isnan(float16_to_float(float_to_float16(value))));
      }
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), half_value(bits)) << bits;
    ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
    ASSERT_EQ(float_to_float16(value), bits);
  }
}

// Between two neighbours the middle goes to the even one, and a float on either side of it to the nearer.
TEST(Float16, RoundsToNearestEven) {
  for (std::uint32_t pattern = 0; pattern < 0x7bff; ++pattern) {
    const auto low = static_cast<std::uint16_t>(pattern);
    const auto high = static_cast<std::uint16_t>(pattern + 1);
    const auto middle = static_cast<float>((half_value(low) + half_value(high)) / 2);
    ASSERT_EQ(float_to_float16(middle), low % 2 == 0 ? low : high) << pattern;
    ASSERT_EQ(float_to_float16(std::nextafter(middle, 0.0f)), low) << pattern;
    ASSERT_EQ(float_to_float16(std::nextafter(middle, 1e9f)), high) << pattern;
    ASSERT_EQ(float_to_float16(-middle), 0x8000 | (low % 2 == 0 ? low : high)) << pattern;
  }
  EXPECT_EQ(float_to_float16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(float_to_float16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_float16(1e30f), 0x7c00);
  EXPECT_EQ(float_to_float16(1e-30f), 0);
}

TEST(Bfloat16, RoundsToNearestEvenAndKeepsNans) {
  for (std::uint32_t pattern = 0; pattern < 0x7f80; pattern += 3) {
    const auto low = static_cast<std::uint16_t>(pattern);
    const auto bits = std::bit_cast<std::uint32_t>(bfloat16_to_float(low));
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(bits)), low);
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(bits + 0x7fff)), low);
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(bits + 0x8000)), low % 2 == 0 ? low : low + 1);
    ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(bits + 0x8001)), low + 1);
  }
  // The payload is all in the lower half: rounding as a number would give infinity.
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(Progress, LineShowsPartRateAndTimeLeft) {
  const Progress::Clock::time_point start{};
  Progress progress("pictures", 10'000, start);
  progress.advance(6'100);
  const auto now = start + std::chrono::seconds(5);
  EXPECT_EQ(progress.line(now), "[##############..........]  61 %  6,100 of 10,000 pictures  1,220/s  4 s left");
}

TEST(Progress, LineWithoutTotalOrTimeMakesNoClaims) {
  const Progress::Clock::time_point start{};
  Progress unknown("pictures", 0, start);
  unknown.advance(6'100);
  EXPECT_EQ(unknown.line(start + std::chrono::seconds(5)), "6,100 pictures  1,220/s");
  const Progress begun("steps", 10, start);
  EXPECT_EQ(begun.line(start), "[........................]   0 %  0 of 10 steps  0.0/s");
  Progress finished("steps", 10, start);
  finished.advance(12);  // more than was promised
  EXPECT_EQ(finished.line(start + std::chrono::seconds(4)), "[########################] 100 %  12 of 10 steps  3.0/s");
}

TEST(Progress, DurationsRoundToWhatIsReadable) {
  EXPECT_EQ(format_duration(-1), "0 s");
  EXPECT_EQ(format_duration(std::nan("")), "0 s");
  EXPECT_EQ(format_duration(0.0421), "42 ms");
  EXPECT_EQ(format_duration(0.9999), "1 s");
  EXPECT_EQ(format_duration(4.24), "4.2 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(65), "1 min 05 s");
  EXPECT_EQ(format_duration(7800), "2 h 10 min");
  EXPECT_EQ(format_duration(100'000), "1 d 03 h");
  EXPECT_FALSE(format_duration(std::numeric_limits<double>::infinity()).empty());
}

TEST(Progress, CountsAndBytesAreGrouped) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
  EXPECT_EQ(format_count(-1'000), "-1,000");
  EXPECT_EQ(format_count(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(118'400'000), "118.4 MB");
  EXPECT_EQ(format_bytes(999'960'000), "1.0 GB");
  EXPECT_EQ(format_bytes(std::numeric_limits<std::uint64_t>::max()), "18.4 EB");
}

}  // namespace
}  // namespace convnext
