// Linears in every precision, rounding to bfloat16 and quantizing, against the scalar ones, on every instruction set
// that this machine has.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/float16.h"
#include "core/int8.h"
#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/narrow.h"
#include "kernels/padding.h"
#include "kernels/quantize.h"
#include "tests/expect_error.h"
#include "tests/kernel_rows.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

class LinearKernel : public EachIsa {};

INSTANTIATE_TEST_SUITE_P(Isas, LinearKernel, testing::ValuesIn(supported_isas()), name_of_isa);

// One chain of K additions of random terms: its partial sums grow like sqrt(k), each addition rounds by 2^-24 of one,
// so the error is 2^-24 sqrt(K / 6) of the result; twice that, and what the epilogue adds.
TensorBounds sum_bounds(int inputs) {
  const double relative = 3e-7 + 2 * 0x1p-24 * std::sqrt(inputs / 6.0);
  return {.relative = relative, .largest = 3 * relative};
}

struct LinearCase {
  std::int64_t rows;
  int inputs;
  int outputs;
};

void expect_linear(Isa isa, const LinearCase& size, cpu::Epilogue epilogue, std::ptrdiff_t offset) {
  SCOPED_TRACE(fmt::format("{} rows, {} inputs, {} outputs, epilogue {}, offset {}", size.rows, size.inputs,
                           size.outputs, static_cast<int>(epilogue), offset));
  const std::vector<float> in = random_floats(product({size.rows, size.inputs}), 1);
  const std::vector<float> weight = random_floats(product({size.outputs, size.inputs}), 2);
  const std::vector<float> bias = random_floats(product({size.outputs}), 3);
  const std::vector<float> residual = random_floats(product({size.rows, size.outputs}), 4);
  std::vector<float> expected(residual.size());
  ref::linear(size.inputs, size.outputs, in, weight, bias, expected);
  switch (epilogue) {
    case cpu::Epilogue::kNone:
      break;
    case cpu::Epilogue::kGelu:
      ref::activation(Activation::kGelu, expected);
      break;
    case cpu::Epilogue::kGeluTanh:
      ref::activation(Activation::kGeluTanh, expected);
      break;
    case cpu::Epilogue::kSilu:
      ref::activation(Activation::kSilu, expected);
      break;
    case cpu::Epilogue::kResidual:
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += residual[i];
      break;
  }
  const cpu::PackedLinear op = cpu::pack_linear(isa, size.inputs, size.outputs, weight, bias);
  PaddedRows source(size.rows, size.inputs, isa, offset);
  source.fill(in);
  PaddedRows result(size.rows, size.outputs, isa, offset);
  PaddedRows shortcut(size.rows, size.outputs, isa, offset);
  shortcut.fill(residual);
  cpu::linear_for(isa)(
      op, cpu::whole_linear(op, size.rows, source.data(), source.stride(), result.data(), result.stride(), epilogue,
                            epilogue == cpu::Epilogue::kResidual ? shortcut.data() : nullptr));
  EXPECT_TRUE(tensors_close(result.values(), expected, sum_bounds(size.inputs)));
  EXPECT_TRUE(result.is_clean());
}

TEST_P(LinearKernel, LinearMatchesTheReferenceForEveryRemainderOfRowsAndColumns) {
  for (std::int64_t rows = 1; rows <= 17; ++rows) {
    for (int outputs = 1; outputs <= 6 * vector() + 1; outputs += 1 + vector() / 5) {
      expect_linear(isa(), {rows, 19, outputs}, cpu::Epilogue::kNone, (rows + outputs) % 4);
      if (HasFailure()) return;
    }
  }
}

TEST_P(LinearKernel, LinearMatchesTheReferenceForEveryDepth) {
  for (int inputs = 1; inputs <= 70; ++inputs) {
    expect_linear(isa(), {7, inputs, 37}, cpu::Epilogue::kNone, inputs % 3);
    if (HasFailure()) return;
  }
  expect_linear(isa(), {13, 3072, 50}, cpu::Epilogue::kNone, 0);
}

TEST_P(LinearKernel, LinearMatchesTheReferenceWithEveryEpilogue) {
  for (const cpu::Epilogue epilogue : {cpu::Epilogue::kNone, cpu::Epilogue::kGelu, cpu::Epilogue::kGeluTanh,
                                       cpu::Epilogue::kSilu, cpu::Epilogue::kResidual}) {
    for (const int outputs : {1, 5, 16, 24, 47, 48, 49, 100}) {
      expect_linear(isa(), {11, 23, outputs}, epilogue, outputs % 4);
    }
  }
}

// An output is the same in a tile of six rows as alone: batches and threads rely on it.
TEST_P(LinearKernel, LinearGivesTheSameBitsWhereverARowLies) {
  const int inputs = 129;
  const int outputs = 71;
  const std::int64_t rows = 29;
  const std::vector<float> in = random_floats(product({rows, inputs}), 1);
  const cpu::PackedLinear op = cpu::pack_linear(isa(), inputs, outputs, random_floats(product({outputs, inputs}), 2),
                                                random_floats(product({outputs}), 3));
  PaddedRows source(rows, inputs, isa());
  source.fill(in);
  PaddedRows together(rows, outputs, isa());
  const auto linear = cpu::linear_for(isa());
  linear(op, cpu::whole_linear(op, rows, source.data(), source.stride(), together.data(), together.stride(),
                               cpu::Epilogue::kGelu));
  PaddedRows alone(rows, outputs, isa());
  for (std::int64_t m = 0; m < rows; ++m) {
    for (int panel = 0; panel < op.panels(); ++panel) {
      cpu::LinearCall call = cpu::whole_linear(op, 1, source.data() + m * source.stride(), source.stride(),
                                               alone.data() + m * alone.stride() + panel * op.panel_columns,
                                               alone.stride(), cpu::Epilogue::kGelu);
      call.first_panel = panel;
      call.last_panel = panel + 1;
      linear(op, call);
    }
  }
  EXPECT_EQ(together.values(), alone.values());
}

// VNNI is a matter of the processor: without it the instruction set's integers come from 16-bit sums.
TEST(Isas, DotProductsAreUsedWhereTheProcessorHasThem) {
  for (const Isa isa : supported_isas()) {
    CpuFeatures none;
    const bool same = cpu::linear_for(isa) == cpu::linear_for(isa, none);
    EXPECT_EQ(same, isa != Isa::kAvx512 || !cpu_features().avx512_vnni) << name_of(isa);
  }
}

// Slices of the inputs, added up in the output, with the epilogue once, at the end.
TEST_P(LinearKernel, LinearGivesTheSameBitsInSlicesOfItsInputs) {
  const int inputs = 130;
  const int outputs = 71;
  const std::int64_t rows = 13;
  const std::vector<float> in = random_floats(product({rows, inputs}), 1);
  const cpu::PackedLinear op = cpu::pack_linear(isa(), inputs, outputs, random_floats(product({outputs, inputs}), 2),
                                                random_floats(product({outputs}), 3));
  PaddedRows source(rows, inputs, isa());
  source.fill(in);
  PaddedRows shortcut(rows, outputs, isa());
  shortcut.fill(random_floats(product({rows, outputs}), 4));
  const auto linear = cpu::linear_for(isa());
  for (const cpu::Epilogue epilogue : {cpu::Epilogue::kGelu, cpu::Epilogue::kResidual}) {
    const float* residual = epilogue == cpu::Epilogue::kResidual ? shortcut.data() : nullptr;
    PaddedRows together(rows, outputs, isa());
    linear(op, cpu::whole_linear(op, rows, source.data(), source.stride(), together.data(), together.stride(), epilogue,
                                 residual));
    PaddedRows sliced(rows, outputs, isa());
    for (const auto& [first, last] : {std::pair(0, 1), std::pair(1, 64), std::pair(64, 129), std::pair(129, 130)}) {
      cpu::LinearCall call = cpu::whole_linear(op, rows, source.data() + first, source.stride(), sliced.data(),
                                               sliced.stride(), epilogue, residual);
      call.first_input = first;
      call.last_input = last;
      linear(op, call);
    }
    EXPECT_EQ(together.values(), sliced.values());
  }
}

TEST_P(LinearKernel, LinearComputesOnlyThePanelsItIsAskedFor) {
  const int outputs = 10 * vector();
  const cpu::PackedLinear op = cpu::pack_linear(isa(), 3, outputs, random_floats(product({outputs, 3}), 1),
                                                random_floats(product({outputs}), 2));
  ASSERT_GT(op.panels(), 2);
  std::vector<float> in(64, 1.0f);
  std::vector<float> out(product({outputs}), 42.0f);
  cpu::LinearCall call = cpu::whole_linear(op, 1, in.data(), 3, out.data() + op.panel_columns, outputs);
  call.first_panel = 1;
  call.last_panel = 2;
  cpu::linear_for(isa())(op, call);
  for (int n = 0; n < outputs; ++n) {
    const bool asked = n >= op.panel_columns && n < 2 * op.panel_columns;
    EXPECT_EQ(out[static_cast<std::size_t>(n)] == 42.0f, !asked) << n;
  }
}

// Panels follow one another without a gap, and so do the parts of one for consecutive inputs. Of an even number of
// vectors none stands alone.
TEST_P(LinearKernel, PanelsOfALinear) {
  constexpr int kInputs = 128;
  for (const auto format : {cpu::WeightFormat::kFloat32, cpu::WeightFormat::kBfloat16, cpu::WeightFormat::kInt8}) {
    const int most = cpu::linear_layout(isa(), format).panel_columns;
    for (int vectors = 1; vectors <= 13; ++vectors) {
      const int outputs = vectors * vector();
      const cpu::PackedLinear op =
          cpu::pack_linear(isa(), kInputs, outputs, std::vector<float>(product({outputs, kInputs})),
                           std::vector<float>(product({outputs})), {}, format);
      const std::byte* at = op.part_of_panel(0, 0, kInputs).data();
      for (int panel = 0; panel < op.panels(); ++panel) {
        const int columns = std::min(outputs - panel * op.panel_columns, op.panel_columns);
        EXPECT_LE(columns, most);
        EXPECT_GE(columns, vectors % 2 == 0 ? 2 * vector() : vector()) << outputs;
        for (const auto& [first, last] : {std::pair(0, 32), std::pair(32, 96), std::pair(96, kInputs)}) {
          const std::span<const std::byte> part = op.part_of_panel(panel, first, last);
          EXPECT_EQ(part.data(), at);
          at += part.size();
        }
      }
      const auto bytes = static_cast<std::uint64_t>(at - op.part_of_panel(0, 0, kInputs).data());
      EXPECT_EQ(bytes, op.weight.bytes() + op.bfloat16.bytes() + op.int8.bytes());
    }
  }
}

// ---- bfloat16

// Inputs rounded as the reference rounds, in rows that end in zeros up to the next whole step and lie between what
// nobody may write.
class Bfloat16Memory {
 public:
  Bfloat16Memory(std::int64_t rows, int inputs)
      : rows_(rows),
        stride_(round_up(inputs, cpu::kBfloat16Step) + 32),
        storage_(static_cast<std::size_t>((rows + 1) * stride_ + 32), kUntouched) {}

  cpu::Bfloat16Rows rows() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return {storage_.data() + (64 - address % 64) % 64 / sizeof(std::uint16_t), stride_};
  }

  // Of `inputs` values a row, and that zeros follow up to `filled`, and nothing else was written.
  std::vector<float> values(int inputs, std::ptrdiff_t filled) {
    std::vector<float> result;
    for (std::int64_t m = 0; m < rows_; ++m) {
      const std::uint16_t* row = rows().values + m * stride_;
      for (int k = 0; k < inputs; ++k) result.push_back(bfloat16_to_float(row[k]));
      for (std::ptrdiff_t k = inputs; k < stride_; ++k) {
        EXPECT_EQ(row[k], k < filled ? 0 : kUntouched) << "value " << k << " of row " << m;
      }
    }
    return result;
  }

  static constexpr std::uint16_t kUntouched = 0x7fc1;  // a NaN

 private:
  std::int64_t rows_;
  std::ptrdiff_t stride_;
  std::vector<std::uint16_t> storage_;
};

std::vector<float> rounded_to_bfloat16(std::vector<float> values) {
  for (float& value : values) value = bfloat16_to_float(float_to_bfloat16(value));
  return values;
}

class Bfloat16Kernel : public EachIsa {
 protected:
  bool multiplies() const {
    return cpu::linear_layout(isa(), cpu::WeightFormat::kBfloat16).products == cpu::Products::kBfloat16;
  }
};

INSTANTIATE_TEST_SUITE_P(Isas, Bfloat16Kernel, testing::ValuesIn(supported_isas()), name_of_isa);

TEST_P(Bfloat16Kernel, NarrowRoundsAsTheReferenceAndFillsTheStep) {
  if (!multiplies()) {
    EXPECT_THROW(cpu::narrow_for(isa()), std::logic_error);
    return;
  }
  for (const int inputs : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 384}) {
    SCOPED_TRACE(inputs);
    const std::int64_t rows = 3;
    const std::vector<float> in = random_floats(product({rows, inputs}), static_cast<std::uint64_t>(inputs));
    PaddedRows source(rows, inputs, isa());
    source.fill(in);
    Bfloat16Memory narrow(rows, inputs);
    cpu::narrow_for(isa())(rows, inputs, source.data(), source.stride(), narrow.rows());
    EXPECT_EQ(narrow.values(inputs, round_up(inputs, cpu::kBfloat16Step)), rounded_to_bfloat16(in));
  }
}

TEST_P(Bfloat16Kernel, NarrowKeepsWhatIsNoNumberAndDropsWhatIsNotNormal) {
  if (!multiplies()) return;
  PaddedRows source(1, 6, isa());
  const float greatest = std::numeric_limits<float>::max();
  source.fill(std::vector<float>{kNan, HUGE_VALF, -HUGE_VALF, 1e-40f, -0.0f, greatest});
  Bfloat16Memory narrow(1, 6);
  cpu::narrow_for(isa())(1, 6, source.data(), source.stride(), narrow.rows());
  const std::vector<float> values = narrow.values(6, cpu::kBfloat16Step);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ((std::vector<float>(values.begin() + 1, values.end())),
            (std::vector<float>{HUGE_VALF, -HUGE_VALF, 0.0f, -0.0f, HUGE_VALF}));
}

// The weights are rounded, and where they are multiplied as bfloat16 the inputs too; sums are float32's.
TEST_P(Bfloat16Kernel, LinearIsALinearOfTheRoundedWeights) {
  std::vector<LinearCase> sizes = {{7, 19, 5}, {17, 256, 48}, {30, 601, 100}, {64, 96, 384}, {100, 33, 16}};
  for (std::int64_t rows = 1; rows <= 35; ++rows) sizes.push_back({rows, 31 + static_cast<int>(rows), 40});
  for (int outputs = 1; outputs <= 100; outputs += 9) sizes.push_back({33, 70, outputs});
  for (const auto& [rows, inputs, outputs] : sizes) {
    SCOPED_TRACE(fmt::format("{} x {} x {}", rows, inputs, outputs));
    const std::vector<float> in = random_floats(product({rows, inputs}), 1);
    const std::vector<float> weight = random_floats(product({outputs, inputs}), 2);
    const std::vector<float> bias = random_floats(product({outputs}), 3);
    const cpu::PackedLinear op =
        cpu::pack_linear(isa(), inputs, outputs, weight, bias, {}, cpu::WeightFormat::kBfloat16);
    PaddedRows source(rows, inputs, isa());
    source.fill(in);
    PaddedRows result(rows, outputs, isa());
    cpu::LinearCall call = cpu::whole_linear(op, rows, source.data(), source.stride(), result.data(), result.stride());
    Bfloat16Memory narrow(rows, inputs);
    if (multiplies()) {
      call.bfloat16 = narrow.rows();
      cpu::narrow_for(isa())(rows, inputs, source.data(), source.stride(), call.bfloat16);
    }
    cpu::linear_for(isa())(op, call);
    std::vector<float> unrounded(product({rows, outputs}));
    ref::linear(inputs, outputs, in, weight, bias, unrounded);
    std::vector<float> expected(unrounded.size());
    ref::linear(inputs, outputs, multiplies() ? rounded_to_bfloat16(in) : in, rounded_to_bfloat16(weight), bias,
                expected);
    EXPECT_TRUE(tensors_close(result.values(), expected, sum_bounds(inputs)));
    EXPECT_FALSE(tensors_close(result.values(), unrounded, sum_bounds(inputs)));
    EXPECT_TRUE(result.is_clean());
    if (HasFailure()) return;
  }
}

// What goes on to another linear goes in bfloat16: the same values, rounded once more.
TEST_P(Bfloat16Kernel, LinearRoundsWhatItsActivationGives) {
  if (!multiplies()) return;
  for (const int outputs : {16, 40, 48, 64, 80, 100, 384}) {
    const std::int64_t rows = 37;
    const int inputs = 70;
    PaddedRows source(rows, inputs, isa());
    source.fill(random_floats(product({rows, inputs}), 1));
    Bfloat16Memory narrow(rows, inputs);
    cpu::narrow_for(isa())(rows, inputs, source.data(), source.stride(), narrow.rows());
    const cpu::PackedLinear op =
        cpu::pack_linear(isa(), inputs, outputs, random_floats(product({outputs, inputs}), 2),
                         random_floats(product({outputs}), 3), {}, cpu::WeightFormat::kBfloat16);
    for (const cpu::Epilogue epilogue :
         {cpu::Epilogue::kNone, cpu::Epilogue::kGelu, cpu::Epilogue::kGeluTanh, cpu::Epilogue::kSilu}) {
      SCOPED_TRACE(fmt::format("{} outputs, epilogue {}", outputs, static_cast<int>(epilogue)));
      PaddedRows wide(rows, outputs, isa());
      cpu::LinearCall call = cpu::whole_linear(op, rows, nullptr, 0, wide.data(), wide.stride(), epilogue);
      call.bfloat16 = narrow.rows();
      cpu::linear_for(isa())(op, call);
      call.out = nullptr;
      Bfloat16Memory out(rows, outputs);
      call.bfloat16_out = out.rows();
      cpu::linear_for(isa())(op, call);
      const std::ptrdiff_t filled = isa() == Isa::kAmx ? round_up(outputs, 32) : padded_channels(outputs, isa());
      EXPECT_EQ(out.values(outputs, filled), rounded_to_bfloat16(wide.values()));
    }
  }
}

// A residual, and sums that are not whole yet, are floats.
TEST_P(Bfloat16Kernel, LinearRefusesToRoundWhatItCannot) {
  if (!multiplies()) return;
  const int inputs = 64, outputs = 32;
  const cpu::PackedLinear op = cpu::pack_linear(isa(), inputs, outputs, random_floats(product({outputs, inputs}), 2),
                                                random_floats(product({outputs}), 3), {}, cpu::WeightFormat::kBfloat16);
  Bfloat16Memory in(1, inputs), out(1, outputs);
  PaddedRows residual(1, outputs, isa());
  const auto refused = [&](const auto& change) {
    cpu::LinearCall call = cpu::whole_linear(op, 1, nullptr, 0, nullptr, 0);
    call.bfloat16 = in.rows();
    call.bfloat16_out = out.rows();
    change(call);
    expect_error(ErrorCode::kInvalidArgument, {"bfloat16", "residual"}, [&] { cpu::linear_for(isa())(op, call); });
  };
  refused([&](cpu::LinearCall& call) {
    call.epilogue = cpu::Epilogue::kResidual;
    call.residual = residual.data();
  });
  refused([](cpu::LinearCall& call) { call.last_input = 32; });
  refused([](cpu::LinearCall& call) { call.first_input = 32; });
}

// ---- quantize

struct Integers {
  std::vector<std::uint8_t> values;
  std::vector<QuantizedRun> runs;
  cpu::QuantizedRows rows;
};

Integers quantized(Isa isa, std::int64_t rows, int inputs, PaddedRows& source) {
  Integers integers;
  integers.rows.stride = round_up(inputs, 64) + 8;
  integers.rows.run_stride = quantized_runs(inputs);
  integers.values.assign(product({rows, integers.rows.stride}), 77);
  integers.runs.resize(product({rows, integers.rows.run_stride}));
  integers.rows.values = integers.values.data();
  integers.rows.runs = integers.runs.data();
  cpu::quantize_for(isa)(rows, inputs, source.data(), source.stride(), integers.rows);
  return integers;
}

TEST_P(LinearKernel, QuantizeMatchesTheReferenceToTheBit) {
  const std::int64_t rows = 3;
  for (const int inputs : {1, 2, 7, 8, 9, 31, 96, 383, 384, 385, 400, 768, 1000}) {
    SCOPED_TRACE(inputs);
    std::vector<float> in = random_floats(product({rows, inputs}), static_cast<std::uint64_t>(inputs));
    for (int k = 0; k < inputs; ++k) in[static_cast<std::size_t>(k)] = std::fabs(in[static_cast<std::size_t>(k)]);
    PaddedRows source(rows, inputs, isa());
    source.fill(in);
    std::vector<std::uint8_t> expected(in.size());
    std::vector<QuantizedRun> runs(product({rows, quantized_runs(inputs)}));
    ref::quantize(inputs, in, expected, runs);
    const Integers got = quantized(isa(), rows, inputs, source);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      EXPECT_EQ(got.runs[i].scale, runs[i].scale) << i;
      EXPECT_EQ(got.runs[i].zero, runs[i].zero) << i;
    }
    for (std::int64_t m = 0; m < rows; ++m) {
      for (int k = 0; k < inputs; ++k) {
        ASSERT_EQ(got.values[product({m, got.rows.stride}) + static_cast<std::size_t>(k)],
                  expected[product({m, inputs}) + static_cast<std::size_t>(k)])
            << m << ", " << k;
      }
    }
  }
}

TEST(Quantize, IsExactForZeroAndWithinHalfAStepElsewhere) {
  const std::vector<float> in = {-0.17f, 0.0f, 0.004f, 3.0f, 1.5f, -0.1f};
  std::vector<std::uint8_t> values(in.size());
  std::vector<QuantizedRun> run(1);
  ref::quantize(static_cast<int>(in.size()), in, values, run);
  EXPECT_FLOAT_EQ(run[0].scale, 3.17f / 255);
  EXPECT_EQ(values[1], run[0].zero);
  for (std::size_t i = 0; i < in.size(); ++i) {
    EXPECT_NEAR(static_cast<float>(values[i] - run[0].zero) * run[0].scale, in[i], 0.51f * run[0].scale);
  }
}

TEST_P(LinearKernel, QuantizeTakesZerosAndTellsInfinitiesAndNan) {
  for (const float odd : {0.0f, 1e-38f, -1e-40f, kNan, HUGE_VALF, -HUGE_VALF}) {
    PaddedRows source(1, 400, isa());
    std::vector<float> in(400, 0.0f);
    in[389] = odd;
    source.fill(in);
    const Integers got = quantized(isa(), 1, 400, source);
    EXPECT_EQ(got.runs[0].scale, 0);
    EXPECT_EQ(std::isnan(got.runs[1].scale), !std::isfinite(odd)) << odd;
    EXPECT_EQ(got.values[389], 0);
  }
}

// With the processor's dot products and, where the instruction set does not stand for them, without.
std::vector<cpu::LinearFunction> linears_of(Isa isa) {
  std::vector<cpu::LinearFunction> functions = {cpu::linear_for(isa)};
  if (isa == Isa::kAvx512) functions.push_back(cpu::linear_for(isa, CpuFeatures()));
  return functions;
}

// The largest integers there are, of one sign: where 16 bits are too few for two products, this is where it shows.
TEST_P(LinearKernel, LinearWithInt8WeightsDoesNotSaturate) {
  const int inputs = 768;
  const std::vector<float> in(inputs, 2.0f);
  const std::vector<float> weight(product({20, inputs}), 0.5f);
  const cpu::PackedLinear op =
      cpu::pack_linear(isa(), inputs, 20, weight, std::vector<float>(20, 0.25f), {}, cpu::WeightFormat::kInt8);
  PaddedRows source(1, inputs, isa());
  source.fill(in);
  const Integers integers = quantized(isa(), 1, inputs, source);
  EXPECT_EQ(integers.values[5], 255);
  for (const cpu::LinearFunction linear : linears_of(isa())) {
    PaddedRows result(1, 20, isa());
    cpu::LinearCall call = cpu::whole_linear(op, 1, nullptr, 0, result.data(), result.stride());
    call.quantized = integers.rows;
    linear(op, call);
    for (const float value : result.values()) EXPECT_NEAR(value, 768.25f, 1e-3f);
  }
}

// Integers are exact, so that only the last operations of each run can differ from this.
TEST_P(LinearKernel, LinearWithInt8WeightsIsTheIntegerProduct) {
  for (const auto& [rows, inputs, outputs] :
       {LinearCase{1, 1, 1}, LinearCase{7, 19, 5}, LinearCase{13, 96, 50}, LinearCase{17, 384, 48},
        LinearCase{30, 385, 100}, LinearCase{5, 1000, 33}, LinearCase{32, 64, 64}, LinearCase{49, 100, 20},
        LinearCase{67, 65, 81}}) {
    SCOPED_TRACE(fmt::format("{} x {} x {}", rows, inputs, outputs));
    const std::vector<float> in = random_floats(product({rows, inputs}), 1);
    const std::vector<float> weight = random_floats(product({outputs, inputs}), 2);
    const std::vector<float> bias = random_floats(product({outputs}), 3);
    const std::vector<float> layer_scale = random_floats(product({outputs}), 4);
    const auto row_runs = product({quantized_runs(inputs)});
    std::vector<std::uint8_t> values(in.size());
    std::vector<QuantizedRun> runs(product({rows}) * row_runs);
    ref::quantize(inputs, in, values, runs);
    std::vector<std::int8_t> weights(weight.size());
    std::vector<float> weight_scales(product({outputs}));
    for (std::size_t n = 0; n < weight_scales.size(); ++n) {
      const auto row = product({inputs});
      weight_scales[n] =
          quantize_weights(std::span(weight).subspan(n * row, row), std::span(weights).subspan(n * row, row));
    }
    std::vector<float> expected(product({rows, outputs}));
    for (std::size_t m = 0; m < product({rows}); ++m) {
      for (std::size_t n = 0; n < product({outputs}); ++n) {
        double sum = double{bias[n]} * double{layer_scale[n]};
        for (std::size_t k = 0; k < product({inputs}); ++k) {
          const QuantizedRun& run = runs[m * row_runs + k / kQuantizedInputs];
          sum += double{run.scale} * double{weight_scales[n]} * double{layer_scale[n]} *
                 (values[m * product({inputs}) + k] - run.zero) * weights[n * product({inputs}) + k];
        }
        expected[m * product({outputs}) + n] = static_cast<float>(sum);
      }
    }
    const cpu::PackedLinear op =
        cpu::pack_linear(isa(), inputs, outputs, weight, bias, layer_scale, cpu::WeightFormat::kInt8);
    PaddedRows source(rows, inputs, isa());
    source.fill(in);
    const Integers integers = quantized(isa(), rows, inputs, source);
    PaddedRows result(rows, outputs, isa());
    for (const cpu::LinearFunction linear : linears_of(isa())) {
      cpu::LinearCall call = cpu::whole_linear(op, rows, nullptr, 0, result.data(), result.stride());
      call.quantized = integers.rows;
      linear(op, call);
      EXPECT_TRUE(tensors_close(result.values(), expected, {.relative = 3e-7, .largest = 5e-7}));
      EXPECT_TRUE(result.is_clean());
    }
    // What it approximates.
    std::vector<float> unquantized(expected.size());
    ref::linear(inputs, outputs, in, weight, bias, unquantized);
    for (std::size_t i = 0; i < unquantized.size(); ++i) unquantized[i] *= layer_scale[i % layer_scale.size()];
    EXPECT_TRUE(tensors_close(result.values(), unquantized, {.relative = 0.02, .largest = 0.03}));
    if (inputs > 1) {
      EXPECT_FALSE(tensors_close(result.values(), unquantized, {.relative = 1e-5, .largest = 1e-5}));
    }
  }
}

// As float32: slices of the inputs and single panels give the bits of one call.
TEST_P(LinearKernel, LinearWithNarrowWeightsGivesTheSameBitsInSlicesAndPanels) {
  const int inputs = 1000;
  const int outputs = 71;
  const std::int64_t rows = 13;
  const std::vector<float> in = random_floats(product({rows, inputs}), 1);
  PaddedRows source(rows, inputs, isa());
  source.fill(in);
  Integers integers = quantized(isa(), rows, inputs, source);
  const auto linear = cpu::linear_for(isa());
  for (const cpu::WeightFormat format : {cpu::WeightFormat::kBfloat16, cpu::WeightFormat::kInt8}) {
    const cpu::PackedLinear op = cpu::pack_linear(isa(), inputs, outputs, random_floats(product({outputs, inputs}), 2),
                                                  random_floats(product({outputs}), 3), {}, format);
    PaddedRows together(rows, outputs, isa());
    cpu::LinearCall whole = cpu::whole_linear(op, rows, source.data(), source.stride(), together.data(),
                                              together.stride(), cpu::Epilogue::kGelu);
    whole.quantized = integers.rows;
    Bfloat16Memory narrow(rows, inputs);
    whole.bfloat16 = narrow.rows();
    if (op.products == cpu::Products::kBfloat16) {
      cpu::narrow_for(isa())(rows, inputs, source.data(), source.stride(), whole.bfloat16);
    }
    linear(op, whole);
    PaddedRows pieces(rows, outputs, isa());
    for (int panel = 0; panel < op.panels(); ++panel) {
      for (int first = 0; first < inputs; first += kQuantizedInputs) {
        cpu::LinearCall call = whole;
        call.in += first;
        call.out = pieces.data() + panel * op.panel_columns;
        call.out_stride = pieces.stride();
        call.first_panel = panel;
        call.last_panel = panel + 1;
        call.first_input = first;
        call.last_input = std::min(first + kQuantizedInputs, inputs);
        call.bfloat16.values += first;
        call.quantized.values += first;
        call.quantized.runs += first / kQuantizedInputs;
        linear(op, call);
      }
    }
    EXPECT_EQ(together.values(), pieces.values());
  }
}

TEST_P(LinearKernel, LayerScaleIsFoldedIntoALinear) {
  const std::vector<float> weight = random_floats(product({20, 12}), 1);
  const std::vector<float> bias = random_floats(20, 2);
  const std::vector<float> scale = random_floats(20, 3);
  const std::vector<float> in = random_floats(product({5, 12}), 4);
  std::vector<float> expected(product({5, 20}));
  ref::linear(12, 20, in, weight, bias, expected);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] *= scale[i % 20];
  const cpu::PackedLinear op = cpu::pack_linear(isa(), 12, 20, weight, bias, scale);
  PaddedRows source(5, 12, isa());
  source.fill(in);
  PaddedRows result(5, 20, isa());
  cpu::linear_for(isa())(op, cpu::whole_linear(op, 5, source.data(), source.stride(), result.data(), result.stride()));
  EXPECT_TRUE(tensors_close(result.values(), expected, {.relative = 5e-7, .largest = 1e-6}));
}

}  // namespace
}  // namespace convnext
