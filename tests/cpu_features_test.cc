#include "core/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace convnext {
namespace {

#if defined(__x86_64__)

// What the system says of the first processor; it leaves out what it does not save the registers of.
std::set<std::string> flags_of_the_system() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(CpuFeatures, AreThoseThatTheSystemNames) {
  const std::set<std::string> flags = flags_of_the_system();
  ASSERT_TRUE(flags.contains("sse2"));
  const auto all = [&flags](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (!flags.contains(name)) return false;
    }
    return true;
  };
  const bool avx2 = all({"avx2", "fma", "bmi1", "bmi2", "abm", "f16c", "aes", "pclmulqdq", "sse4_2", "popcnt"});
  const bool avx512 = avx2 && all({"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd"});
  const CpuFeatures& features = cpu_features();
  EXPECT_EQ(features.avx2, avx2);
  EXPECT_EQ(features.avx512, avx512);
  EXPECT_EQ(features.avx512_vnni, avx512 && all({"avx512_vnni"}));
  EXPECT_EQ(features.avx512_bf16, avx512 && all({"avx512_bf16"}));
  // The system may refuse what the processor has.
  if (features.amx) {
    EXPECT_TRUE(avx512 && all({"avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"}));
  }
  EXPECT_FALSE(features.neon);
}

#else

TEST(CpuFeatures, HaveNothingOfX86) {
  EXPECT_FALSE(cpu_features().avx2 || cpu_features().avx512);
#if defined(__aarch64__)
  EXPECT_TRUE(cpu_features().neon);
#endif
}

#endif

}  // namespace
}  // namespace convnext
