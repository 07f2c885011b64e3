#include "kernels/isa.h"

#include <fmt/format.h>

#include <stdexcept>

#include "core/cpu_features.h"
#include "kernels/cpu/targets.h"

namespace convnext {

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
    case Isa::kNeon:
      return "neon";
  }
  return "?";
}

int lanes(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return 8;
    case Isa::kAvx512:
    case Isa::kAvx512Bf16:
    case Isa::kAmx:
      return 16;
    case Isa::kNeon:
      return 4;
    case Isa::kPortable:
      break;
  }
  return (HWY_TARGETS & HWY_SCALAR) != 0 ? 1 : 4;
}

std::vector<Isa> supported_isas() {
  // foreach_target.h compiles for exactly HWY_TARGETS.
  const CpuFeatures& cpu = cpu_features();
  std::vector<Isa> isas;
  if (HWY_TARGETS & HWY_AVX3) {
    if (cpu.amx) isas.push_back(Isa::kAmx);
    if (cpu.avx512_bf16 && cpu.avx512_vnni) isas.push_back(Isa::kAvx512Bf16);
    if (cpu.avx512) isas.push_back(Isa::kAvx512);
  }
  if ((HWY_TARGETS & HWY_AVX2) && cpu.avx2) isas.push_back(Isa::kAvx2);
  if ((HWY_TARGETS & HWY_NEON) && cpu.neon) isas.push_back(Isa::kNeon);
  if (HWY_TARGETS & (HWY_EMU128 | HWY_SCALAR)) isas.push_back(Isa::kPortable);
  return isas;
}

void throw_not_compiled(std::string_view kernel, Isa isa) {
  throw std::logic_error(fmt::format("this build has no {} kernel for {}", kernel, name_of(isa)));
}

}  // namespace convnext
