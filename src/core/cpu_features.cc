#include "core/cpu_features.h"

#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#include <initializer_list>
#endif

namespace convnext {
namespace {

#if defined(__x86_64__)

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for a leaf that the processor does not have.
Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers result;
  __get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx);
  return result;
}

bool has(unsigned flags, std::initializer_list<int> bits) {
  for (const int bit : bits) {
    if ((flags >> bit & 1) == 0) return false;
  }
  return true;
}

// Which registers the system saves; only where OSXSAVE says that it can be asked.
unsigned saved_registers() {
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Whether the system saves AMX's registers for this process, which it does for those that ask.
bool may_use_tiles(unsigned saved) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, of Linux 5.16
  constexpr int kTileData = 18;
  return has(saved, {17, kTileData}) && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  static_cast<void>(saved);
  return false;
#endif
}

CpuFeatures detect() {
  const Registers basic = cpuid(1), more = cpuid(7), last = cpuid(7, 1), extended = cpuid(0x80000001);
  CpuFeatures features;
  constexpr int kOsxsave = 27;
  if (!has(basic.ecx, {kOsxsave})) return features;
  const unsigned saved = saved_registers();
  const bool saves_ymm = has(saved, {1, 2});
  const bool saves_zmm = saves_ymm && has(saved, {5, 6, 7});
  // SSE3, CLMUL, SSSE3, FMA, SSE4.1, SSE4.2, POPCNT, AES, AVX, F16C; BMI, AVX2, BMI2; LZCNT.
  features.avx2 = saves_ymm && has(basic.ecx, {0, 1, 9, 12, 19, 20, 23, 25, 28, 29}) && has(more.ebx, {3, 5, 8}) &&
                  has(extended.ecx, {5});
  features.avx512 = features.avx2 && saves_zmm && has(more.ebx, {16, 17, 28, 30, 31});  // F, DQ, CD, BW, VL
  features.avx512_vnni = features.avx512 && has(more.ecx, {11});
  features.avx512_bf16 = features.avx512 && has(last.eax, {5});
  features.amx = features.avx512_vnni && features.avx512_bf16 && has(more.edx, {22, 24, 25}) && may_use_tiles(saved);
  return features;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  CpuFeatures features;
  features.neon = true;
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::ptrdiff_t second_level_cache_bytes() {
  constexpr std::ptrdiff_t kUsual = 512 * 1024;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return kUsual;
}

}  // namespace convnext
