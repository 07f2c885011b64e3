// Random numbers of training: each is a function of what it is for (seed, epoch, sample), so that a run gives the same
// numbers whatever the number of workers and wherever it was resumed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "core/hash.h"

namespace convnext {

class KeyedRandom {
 public:
  // Equal keys give equal sequences.
  explicit KeyedRandom(std::initializer_list<std::uint64_t> key) {
    for (const std::uint64_t part : key) key_ = mix(key_ + part);
  }

  std::uint64_t next() { return mix(key_ + counter_++); }
  // In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // Between `low` and `high`.
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Between `low` and `high`, both above 0, with a uniform logarithm: as often in [1/2, 1] as in [1, 2].
  double log_uniform(double low, double high);
  // In [0, count), by multiplication: the bias is below count / 2^32.
  std::uint32_t below(std::uint32_t count) { return static_cast<std::uint32_t>(((next() >> 32) * count) >> 32); }
  bool chance(double probability) { return uniform() < probability; }
  // Of mean 0 and deviation 1, from two uniform numbers (Box and Muller 1958; the cosine of their pair).
  double normal();
  // Beta(a, b) in [0, 1], for a and b in (0, 100], from two gamma variates (Marsaglia and Tsang 2000). Throws Error for
  // other parameters.
  double beta(double a, double b);

 private:
  std::uint64_t key_ = 0;
  std::uint64_t counter_ = 0;
};

// The numbers 0 to count - 1 in the order in which an epoch takes its samples.
std::vector<std::size_t> shuffled_samples(std::size_t count, std::uint64_t seed, int epoch);

}  // namespace convnext
