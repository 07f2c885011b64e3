// The integer hash behind formula weights, formula pictures and the random numbers of training: the same value for the
// same key on every machine and in every language that has 64-bit integers.
#pragma once

#include <cstdint>
#include <string_view>

namespace convnext {

// FNV-1a, 64 bits: a key for a name.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit of the key.
constexpr std::uint64_t mix(std::uint64_t key) {
  key += 0x9e3779b97f4a7c15u;
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
  return key ^ (key >> 31);
}

// Uniform in [0, 1): the top 24 bits of a hash, which a float32 holds exactly.
constexpr float unit_float(std::uint64_t hash) { return static_cast<float>(hash >> 40) * 0x1p-24f; }

}  // namespace convnext
