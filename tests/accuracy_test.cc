// The tables of errors in the headers of the kernels: that they hold on every instruction set of this machine, and that
// they do not promise much less than is kept.
//
// A row of such a table is a comment line "//   NAME FROM TO ERROR UNIT", with a range of what the comment above it
// says.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "core/hash.h"
#include "kernels/activation.h"
#include "kernels/grn.h"
#include "kernels/isa.h"
#include "kernels/norm.h"
#include "kernels/padding.h"
#include "kernels/pool.h"

namespace convnext {
namespace {

struct ErrorRow {
  std::string name;
  double from = 0;
  double to = 0;
  double error = 0;
  std::string unit;

  std::string text() const { return fmt::format("{} from {:g} to {:g}: {:g} {}", name, from, to, error, unit); }
};

// The rows of `header` whose names are among `names`; each of them has one at least.
std::vector<ErrorRow> error_table(const std::string& header, const std::vector<std::string>& names) {
  std::ifstream file(std::string(CONVNEXT_SOURCE_DIR) + "/src/kernels/" + header);
  std::vector<ErrorRow> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string slashes, from, to, error;
    ErrorRow row;
    if (!(words >> slashes >> row.name >> from >> to >> error) || slashes != "//") continue;
    if (std::find(names.begin(), names.end(), row.name) == names.end()) continue;
    std::getline(words >> std::ws, row.unit);
    try {
      row.from = std::stod(from);
      row.to = std::stod(to);
      row.error = std::stod(error);
    } catch (const std::exception&) {
      continue;  // a formula
    }
    rows.push_back(row);
  }
  for (const std::string& name : names) {
    const bool found = std::any_of(rows.begin(), rows.end(), [&](const ErrorRow& row) { return row.name == name; });
    EXPECT_TRUE(found) << header << " has no table of the errors of " << name;
  }
  return rows;
}

// `measured` gives the largest error on one instruction set. The best of them is not far better than the table.
void expect_table(const std::string& header, const std::vector<std::string>& names,
                  const std::function<double(const ErrorRow& row, Isa isa)>& measured) {
  for (const ErrorRow& row : error_table(header, names)) {
    double worst = 0;
    for (const Isa isa : supported_isas()) {
      const double error = measured(row, isa);
      EXPECT_LE(error, row.error) << row.text() << ", on " << name_of(isa);
      worst = std::max(worst, error);
    }
    EXPECT_GE(worst, row.error / 4) << row.text() << ": the table can promise more";
  }
}

// ---- activations

double exact(Activation kind, double x) {
  switch (kind) {
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x * M_SQRT1_2);
    case Activation::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      break;
  }
  return x / (1 + std::exp(-x));
}

// Floats between two of the same sign, evenly over their representations, that is over all magnitudes.
void add_floats_between(float from, float to, std::vector<float>& floats) {
  constexpr std::uint32_t kCount = 400'000;
  const auto first = std::bit_cast<std::uint32_t>(from), last = std::bit_cast<std::uint32_t>(to);
  const std::uint32_t low = std::min(first, last), high = std::max(first, last);
  const std::uint32_t stride = (high - low) / kCount | 1;
  for (std::uint64_t bits = low; bits < high; bits += stride) {
    floats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  floats.push_back(std::bit_cast<float>(high));
}

std::vector<float> floats_between(double from, double to) {
  constexpr double kMost = std::numeric_limits<float>::max();
  const auto first = static_cast<float>(std::max(from, -kMost)), last = static_cast<float>(std::min(to, kMost));
  std::vector<float> floats;
  if (first < 0) add_floats_between(first, last < 0 ? last : -0.0f, floats);
  if (last > 0) add_floats_between(first > 0 ? first : 0.0f, last, floats);
  return floats;
}

// The distance of two floats where `value` lies.
double ulp(double value) { return std::ldexp(1.0, std::max(value == 0 ? -126 : std::ilogb(value), -126) - 23); }

// The larger of two errors. NaN is larger than any.
double larger(double a, double b) { return std::isnan(b) ? std::numeric_limits<double>::infinity() : std::max(a, b); }

TEST(Accuracy, OfTheActivationsIsAsTheirHeaderSays) {
  expect_table("activation.h", {"gelu", "coarse_gelu", "gelu_tanh", "silu"}, [](const ErrorRow& row, Isa isa) {
    const Activation kind = row.name == "gelu_tanh" ? Activation::kGeluTanh
                            : row.name == "silu"    ? Activation::kSilu
                                                    : Activation::kGelu;
    const std::vector<float> inputs = floats_between(row.from, row.to);
    std::vector<float> outputs = inputs;
    if (row.name == "coarse_gelu") {
      cpu::coarse_gelu_for(isa)(outputs.data(), outputs.size());
    } else {
      cpu::activation_for(isa)(kind, outputs.data(), outputs.size());
    }
    double largest = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const double x = inputs[i], value = exact(kind, x), error = std::fabs(outputs[i] - value);
      const double unit = row.unit == "ulp" ? ulp(value) : row.unit == "of |x|" ? std::fabs(x) : 1.0;
      if (error != 0) largest = larger(largest, error / unit);
    }
    return largest;
  });
}

// What the tests of accuracy rest on.
TEST(Accuracy, FloatsBetweenHaveBothEndsAndEveryNormalMagnitude) {
  const std::vector<float> floats = floats_between(-1, std::numeric_limits<double>::infinity());
  EXPECT_EQ(std::count(floats.begin(), floats.end(), -1.0f), 1);
  EXPECT_EQ(floats.back(), std::numeric_limits<float>::max());
  EXPECT_GT(floats.size(), 700'000u);
  for (int exponent = -126; exponent <= 127; ++exponent) {
    const double low = std::ldexp(1.0, exponent);
    EXPECT_TRUE(std::any_of(floats.begin(), floats.end(), [low](float x) { return x >= low && x < 2 * low; }))
        << exponent;
  }
  EXPECT_EQ(ulp(1.0), 0x1p-23);
  EXPECT_EQ(ulp(1.99), 0x1p-23);
  EXPECT_EQ(ulp(1e-44), 0x1p-149);
}

// ---- norms, pools, sums

// Values as maps have them: around a mean of their own for each channel, of any scale.
std::vector<float> map_values(std::size_t rows, std::size_t channels, std::uint64_t seed, double distance) {
  std::vector<float> values(rows * channels);
  const double scale = std::ldexp(1.0, static_cast<int>(mix(seed) % 17) - 8);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double noise = 2.0 * unit_float(mix(mix(seed) + i)) - 1;
    values[i] = static_cast<float>(scale * (noise + distance));
  }
  return values;
}

// Sizes in [from, to], about evenly over magnitudes, with both ends.
std::vector<std::int64_t> sizes_between(double from, double to) {
  std::vector<std::int64_t> sizes;
  for (double size = from; size < to; size = std::max(size * 1.19, size + 1)) {
    sizes.push_back(static_cast<std::int64_t>(size));
  }
  sizes.push_back(static_cast<std::int64_t>(to));
  return sizes;
}

// Ranges are of channels. The errors are those of a row against its largest output.
TEST(Accuracy, OfTheNormsIsAsTheirHeaderSays) {
  const std::vector<std::string> names = {"LayerNorm", "LayerNorm_far", "RMSNorm", "SimpleNorm"};
  expect_table("norm.h", names, [](const ErrorRow& row, Isa isa) {
    const Norm kind = row.name == "RMSNorm"      ? Norm::kRmsNorm
                      : row.name == "SimpleNorm" ? Norm::kSimpleNorm
                                                 : Norm::kLayerNorm;
    constexpr double kEps = 1e-6;
    constexpr std::size_t kRows = 24;
    double largest = 0;
    for (const std::int64_t size : sizes_between(row.from, row.to)) {
      const auto channels = static_cast<std::size_t>(size);
      const auto padded = static_cast<std::size_t>(padded_channels(size, isa));
      const std::vector<float> weight(channels, 1.0f), bias(kind == Norm::kLayerNorm ? channels : 0, 0.0f);
      const cpu::PackedNorm op = cpu::pack_norm(isa, kind, kEps, static_cast<int>(size), weight, bias);
      for (std::size_t m = 0; m < kRows; ++m) {
        const std::vector<float> values =
            map_values(1, channels, 100 * channels + m, row.name == "LayerNorm_far" ? 1000 : 0.3);
        std::vector<float> in(padded, 0.0f), out(padded);
        std::copy(values.begin(), values.end(), in.begin());
        cpu::norm_for(isa)(op, 1, in.data(), static_cast<std::ptrdiff_t>(padded), out.data(),
                           static_cast<std::ptrdiff_t>(padded));
        double mean = 0, squares = 0, most = 0, error = 0;
        for (const float x : values) mean += x / static_cast<double>(channels);
        if (kind == Norm::kRmsNorm) mean = 0;
        for (const float x : values) squares += (x - mean) * (x - mean);
        const double degrees = static_cast<double>(kind == Norm::kSimpleNorm ? channels - 1 : channels);
        const double factor = 1 / std::sqrt(squares / degrees + static_cast<double>(static_cast<float>(kEps)));
        const double shift = kind == Norm::kLayerNorm ? mean : 0;
        for (std::size_t c = 0; c < channels; ++c) {
          const double value = (values[c] - shift) * factor;
          most = std::max(most, std::fabs(value));
          error = larger(error, std::fabs(out[c] - value));
        }
        largest = larger(largest, error / most);
      }
    }
    return largest;
  });
}

// What a reduction over pixels gives for a map of (pixels, channels), and the sum that its error is held against.
struct Reduction {
  std::vector<float> got;
  std::vector<double> expected;
  std::vector<double> scale;
};

double largest_error(const ErrorRow& row, Isa isa,
                     const std::function<Reduction(const std::vector<float>& map, std::int64_t pixels)>& reduce) {
  double largest = 0;
  for (const std::int64_t pixels : sizes_between(row.from, row.to)) {
    const auto channels = static_cast<std::size_t>(2 * lanes(isa));
    for (const double distance : {0.0, 0.3, 2.0}) {
      const auto seed = static_cast<std::uint64_t>(pixels * 10 + static_cast<std::int64_t>(distance));
      const Reduction result = reduce(map_values(static_cast<std::size_t>(pixels), channels, seed, distance), pixels);
      for (std::size_t c = 0; c < channels; ++c) {
        largest = larger(largest, std::fabs(result.got[c] - result.expected[c]) / result.scale[c]);
      }
    }
  }
  return largest;
}

// Ranges are of pixels.
TEST(Accuracy, OfTheAveragePoolIsAsItsHeaderSays) {
  expect_table("pool.h", {"average_pool"}, [](const ErrorRow& row, Isa isa) {
    return largest_error(row, isa, [isa](const std::vector<float>& map, std::int64_t pixels) {
      const auto channels = static_cast<std::ptrdiff_t>(map.size()) / pixels;
      const auto count = static_cast<std::size_t>(channels);
      Reduction result{std::vector<float>(count), std::vector<double>(count), std::vector<double>(count)};
      cpu::average_pool_for(isa)(map.data(), pixels, channels, channels, result.got.data());
      for (std::size_t i = 0; i < map.size(); ++i) {
        result.expected[i % count] += map[i] / static_cast<double>(pixels);
        result.scale[i % count] += std::fabs(map[i]) / static_cast<double>(pixels);
      }
      return result;
    });
  });
}

// Ranges are of pixels.
TEST(Accuracy, OfTheSumsOfSquaresIsAsTheirHeaderSays) {
  expect_table("grn.h", {"grn_sums"}, [](const ErrorRow& row, Isa isa) {
    return largest_error(row, isa, [isa](const std::vector<float>& map, std::int64_t pixels) {
      const auto channels = static_cast<std::ptrdiff_t>(map.size()) / pixels;
      const auto count = static_cast<std::size_t>(channels);
      Reduction result{std::vector<float>(count), std::vector<double>(count), {}};
      cpu::grn_sums_for(isa)(map.data(), pixels, channels, 0, channels, result.got.data());
      for (std::size_t i = 0; i < map.size(); ++i) result.expected[i % count] += double{map[i]} * map[i];
      result.scale = result.expected;
      return result;
    });
  });
}

}  // namespace
}  // namespace convnext
