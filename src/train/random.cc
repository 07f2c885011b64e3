#include "train/random.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "convnext/error.h"

namespace convnext {
namespace {

// The logarithm of a gamma variate of this shape. Below shape 1 it is that of the next shape times U^(1/shape), which
// as a number underflows for small shapes, and as a logarithm does not.
double log_gamma_variate(double shape, KeyedRandom& random) {
  const double boost = shape < 1.0 ? std::log1p(-random.uniform()) / shape : 0.0;
  const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = random.normal();
    const double root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log1p(-random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v) + boost;
  }
}

}  // namespace

double KeyedRandom::log_uniform(double low, double high) { return std::exp(uniform(std::log(low), std::log(high))); }

double KeyedRandom::normal() {
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double KeyedRandom::beta(double a, double b) {
  if (!(a > 0.0 && a <= 100.0 && b > 0.0 && b <= 100.0)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("Beta({}, {}): expected parameters above 0, up to 100", a, b));
  }
  const double log_first = log_gamma_variate(a, *this);
  const double log_second = log_gamma_variate(b, *this);
  return 1.0 / (1.0 + std::exp(log_second - log_first));
}

std::vector<std::size_t> shuffled_samples(std::size_t count, std::uint64_t seed, int epoch) {
  // What the order is drawn for, so that no two uses share a sequence.
  constexpr std::uint64_t kShuffle = 1;
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  KeyedRandom random({seed, kShuffle, static_cast<std::uint64_t>(epoch)});
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  return order;
}

}  // namespace convnext
