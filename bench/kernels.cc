// Each fast kernel by itself on the best instruction set, one thread, at the sizes that ConvNeXt-T has at 224 pixels:
// stage s is 56 >> s pixels wide and 96 << s channels deep. Rows and tiles are as large as the engine makes them.
// "of_peak" holds a kernel's arithmetic against multiply-adds in registers, measured before and after it.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "convnext/image.h"
#include "core/hash.h"
#include "kernels/activation.h"
#include "kernels/aligned_floats.h"
#include "kernels/depthwise.h"
#include "kernels/grn.h"
#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/padding.h"
#include "kernels/peak.h"
#include "kernels/quantize.h"
#include "model/formula.h"

namespace convnext {
namespace {

Isa best_isa() { return supported_isas().front(); }

int channels_of(const benchmark::State& state) { return 96 << state.range(0); }
std::int64_t width_of(const benchmark::State& state) { return 56 >> state.range(0); }

AlignedFloats random_floats(std::ptrdiff_t count) {
  AlignedFloats values(static_cast<std::size_t>(count));
  std::uint64_t key = 1;
  for (float& value : values.values()) value = 2 * unit_float(mix(key++)) - 1;
  return values;
}

// Where the quantized inputs of a linear lie.
class QuantizedMemory {
 public:
  QuantizedMemory(std::int64_t rows, int inputs)
      : stride_(round_up(inputs, 64)),
        run_stride_(quantized_runs(inputs)),
        values_(static_cast<std::size_t>(rows * stride_)),
        runs_(static_cast<std::size_t>(rows * run_stride_)) {}

  cpu::QuantizedRows rows() {
    return {.values = values_.data(), .stride = stride_, .runs = runs_.data(), .run_stride = run_stride_};
  }

 private:
  std::ptrdiff_t stride_;
  std::ptrdiff_t run_stride_;
  AlignedArray<std::uint8_t> values_;
  std::vector<QuantizedRun> runs_;
};

benchmark::Counter rate(double an_iteration) {
  return {an_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000};
}

// Runs `step` for as long as the benchmark wants; `flop` of it is what an iteration computes.
void measure_arithmetic(benchmark::State& state, double flop, const auto& step,
                        cpu::Arithmetic arithmetic = cpu::Arithmetic::kFloat) {
  double peak = cpu::measure_peak(best_isa(), arithmetic);
  for (auto _ : state) {
    step();
    benchmark::ClobberMemory();
  }
  peak = (peak + cpu::measure_peak(best_isa(), arithmetic)) / 2;
  state.counters["FLOP/s"] = rate(flop);
  state.counters["of_peak"] = rate(1e-9 * flop / peak);
}

void peak(benchmark::State& state) {
  double sum = 0;
  for (auto _ : state) sum += cpu::measure_peak(best_isa(), static_cast<cpu::Arithmetic>(state.range(0)));
  state.counters["FLOP/s"] = 1e9 * sum / static_cast<double>(state.iterations());
}
BENCHMARK(peak)->ArgName("arithmetic")->DenseRange(0, 2);

void depthwise(benchmark::State& state) {
  const int channels = channels_of(state);
  const std::int64_t width = width_of(state);
  const std::ptrdiff_t stride = row_stride(channels, best_isa());
  const auto kernel = static_cast<int>(state.range(1));
  const cpu::PackedDepthwise op =
      cpu::pack_depthwise(best_isa(), kernel, channels, random_floats(channels * kernel * kernel).values(),
                          random_floats(channels).values());
  const AlignedFloats in = random_floats(width * width * stride);
  AlignedFloats out = random_floats(width * width * stride);
  const auto function = cpu::depthwise_for(best_isa());
  measure_arithmetic(state, 2.0 * kernel * kernel * static_cast<double>(width * width * channels),
                     [&] { function(op, width, width, in.data(), stride, 0, width * width, out.data(), stride); });
}
BENCHMARK(depthwise)
    ->ArgNames({"stage", "kernel"})
    ->ArgsProduct({{0, 1, 2, 3}, {7}})
    ->Args({0, 3})
    ->Args({0, 5})
    ->Args({2, 11});

void norm(benchmark::State& state) {
  const int channels = channels_of(state);
  const std::ptrdiff_t stride = row_stride(channels, best_isa());
  const std::int64_t rows = 98;
  const cpu::PackedNorm op = cpu::pack_norm(best_isa(), static_cast<Norm>(state.range(1)), 1e-6, channels,
                                            random_floats(channels).values(), {});
  AlignedFloats map = random_floats(rows * stride);
  const auto function = cpu::norm_for(best_isa());
  for (auto _ : state) {
    function(op, rows, map.data(), stride, map.data(), stride);
    benchmark::ClobberMemory();
  }
  state.counters["B/s"] = rate(2.0 * sizeof(float) * static_cast<double>(rows * channels));
}
BENCHMARK(norm)->ArgNames({"stage", "kind"})->ArgsProduct({{0, 1, 2, 3}, {0, 1, 2}});

constexpr cpu::WeightFormat kFormats[] = {cpu::WeightFormat::kFloat32, cpu::WeightFormat::kBfloat16,
                                          cpu::WeightFormat::kInt8};

// int8 is the product alone: quantizing its inputs is `quantize`.
void multiply(benchmark::State& state, int inputs, int outputs, cpu::Epilogue epilogue, cpu::WeightFormat format) {
  const std::int64_t rows = 98;
  const std::ptrdiff_t in_stride = scratch_stride(inputs, best_isa());
  const std::ptrdiff_t out_stride = row_stride(outputs, best_isa());
  const cpu::PackedLinear op =
      cpu::pack_linear(best_isa(), inputs, outputs, random_floats(std::ptrdiff_t{inputs} * outputs).values(),
                       random_floats(outputs).values(), {}, format);
  const AlignedFloats in = random_floats(rows * in_stride);
  const AlignedFloats residual = random_floats(rows * out_stride);
  AlignedFloats out = random_floats(rows * out_stride);
  cpu::LinearCall call =
      cpu::whole_linear(op, rows, in.data(), in_stride, out.data(), out_stride, epilogue, residual.data());
  QuantizedMemory quantized(rows, inputs);
  if (format == cpu::WeightFormat::kInt8) {
    call.quantized = quantized.rows();
    cpu::quantize_for(best_isa())(rows, inputs, in.data(), in_stride, call.quantized);
  }
  const auto function = cpu::linear_for(best_isa());
  measure_arithmetic(
      state, 2.0 * static_cast<double>(rows) * inputs * outputs, [&] { function(op, call); },
      format == cpu::WeightFormat::kInt8 ? cpu::Arithmetic::kInt8 : cpu::Arithmetic::kFloat);
}

void linear_expand(benchmark::State& state) {
  multiply(state, channels_of(state), 4 * channels_of(state), static_cast<cpu::Epilogue>(state.range(1)),
           kFormats[state.range(2)]);
}
BENCHMARK(linear_expand)
    ->ArgNames({"stage", "epilogue", "format"})
    ->ArgsProduct({{0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0}})
    ->ArgsProduct({{0, 1, 2, 3}, {1}, {1, 2}});

void linear_project(benchmark::State& state) {
  multiply(state, 4 * channels_of(state), channels_of(state), cpu::Epilogue::kResidual, kFormats[state.range(1)]);
}
BENCHMARK(linear_project)->ArgNames({"stage", "format"})->ArgsProduct({{0, 1, 2, 3}, {0, 1, 2}});

void quantize(benchmark::State& state) {
  const int channels = 4 * channels_of(state);
  const std::int64_t rows = 98;
  const std::ptrdiff_t stride = row_stride(channels, best_isa());
  const AlignedFloats in = random_floats(rows * stride);
  QuantizedMemory quantized(rows, channels);
  const auto function = cpu::quantize_for(best_isa());
  for (auto _ : state) {
    function(rows, channels, in.data(), stride, quantized.rows());
    benchmark::ClobberMemory();
  }
  state.counters["B/s"] = rate((sizeof(float) + 1.0) * static_cast<double>(rows * channels));
}
BENCHMARK(quantize)->ArgName("stage")->DenseRange(0, 3);

void activation(benchmark::State& state) {
  const AlignedFloats source = random_floats(4096);
  AlignedFloats values(4096);
  const auto function = cpu::activation_for(best_isa());
  for (auto _ : state) {
    // Fresh values: applied again and again, an activation ends in zeros and denormal numbers.
    std::copy_n(source.data(), source.size(), values.data());
    function(static_cast<Activation>(state.range(0)), values.data(), values.size());
    benchmark::ClobberMemory();
  }
  state.counters["elements/s"] = rate(static_cast<double>(values.size()));
  state.counters["B/s"] = rate(2.0 * sizeof(float) * static_cast<double>(values.size()));
}
BENCHMARK(activation)->ArgName("kind")->DenseRange(0, 2);

void grn(benchmark::State& state) {
  const int channels = 4 * channels_of(state);
  const std::int64_t pixels = width_of(state) * width_of(state);
  const std::ptrdiff_t stride = row_stride(channels, best_isa());
  const std::ptrdiff_t padded = padded_channels(channels, best_isa());
  const AlignedFloats zeros(static_cast<std::size_t>(channels));
  const cpu::PackedGrn op = cpu::pack_grn(best_isa(), channels, zeros.values(), zeros.values());
  AlignedFloats map = random_floats(pixels * stride);
  AlignedFloats sums(static_cast<std::size_t>(padded));
  const auto add_up = cpu::grn_sums_for(best_isa());
  const auto apply = cpu::grn_apply_for(best_isa());
  for (auto _ : state) {
    add_up(map.data(), pixels, stride, 0, padded, sums.data());
    cpu::grn_factors(op, sums.values());
    apply(op, sums.data(), pixels, map.data(), stride);
    benchmark::ClobberMemory();
  }
  state.counters["B/s"] = rate(3.0 * sizeof(float) * static_cast<double>(pixels * channels));
}
BENCHMARK(grn)->ArgName("stage")->DenseRange(0, 3);

// A picture of ImageNet's usual size to the middle 224 x 224 of 256.
void resize(benchmark::State& state) {
  const Image image = formula_picture(500, 375, 1);
  Preprocessing preprocessing;
  preprocessing.interpolation = static_cast<Interpolation>(state.range(0));
  preprocessing.pipeline = static_cast<PixelPipeline>(state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(resize_and_crop(image, preprocessing).pixels.data());
  state.counters["B/s"] = rate(static_cast<double>(image.pixels.size()) + 3.0 * 224 * 224);
}
BENCHMARK(resize)->ArgNames({"interpolation", "pipeline"})->ArgsProduct({{1, 3, 4}, {0, 1}});

}  // namespace
}  // namespace convnext
