// The network on SIMD kernels and threads.
//
// Maps are NHWC with padded channels (kernels/padding.h). A batch is one long list of pixels, and the unit of work is a
// tile of consecutive ones: it goes depthwise -> norm -> linear -> activation -> linear -> residual without leaving the
// second-level cache. Its hidden activation, four times as wide, is made and used up a slice of channels at a time, so
// that a tile may have many pixels: all weights pass by for each tile. The neighbourhood of the depthwise convolution
// makes a block read one map and write another.
//
// In two cases the hidden map goes to memory, and a block is several passes: with global response normalisation, which
// needs the whole picture's; and where there are too few pixels for all threads, as in the last stage of one picture,
// so that the threads share out the channels instead.
//
// An output never depends on which tile or thread computed it: neither the number of threads nor the other pictures of
// a batch change a bit.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "convnext/error.h"
#include "core/cpu_features.h"
#include "core/task_shares.h"
#include "engine/backend.h"
#include "engine/cpu_network.h"
#include "engine/network.h"
#include "engine/profile.h"
#include "kernels/layout.h"
#include "kernels/padding.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "model/description.h"

namespace convnext {
namespace {

using namespace cpu;

// Scratch of a tile: what of a core's second-level cache the weights that pass through it leave, as measured with 512
// KB (Zen 3) and with 2 MB (Emerald Rapids).
std::ptrdiff_t tile_floats() {
  constexpr std::ptrdiff_t kLeastBytes = 384 * 1024;
  constexpr std::ptrdiff_t kMostBytes = 768 * 1024;
  static const std::ptrdiff_t bytes = std::clamp(second_level_cache_bytes() * 3 / 8, kLeastBytes, kMostBytes);
  return bytes / std::ptrdiff_t{sizeof(float)};
}
// A slice of the hidden channels: a multiple of the panels of every instruction set.
constexpr int kHiddenSlice = 384;
// A group, the pictures of a batch that are run together, is as large as keeps its maps below this.
constexpr std::ptrdiff_t kGroupFloats = 256 * 1024 * 1024 / std::ptrdiff_t{sizeof(float)};
// Below so many pixels a thread, threads share out channels: the same weights would pass by for each of them.
constexpr std::int64_t kFewPixels = 64;

struct Kernels {
  explicit Kernels(Isa isa)
      : depthwise(depthwise_for(isa)),
        norm(norm_for(isa)),
        quantize(quantize_for(isa)),
        narrow(linear_layout(isa, WeightFormat::kBfloat16).products == Products::kBfloat16 ? narrow_for(isa) : nullptr),
        linear(linear_for(isa)),
        grn_sums(grn_sums_for(isa)),
        grn_apply(grn_apply_for(isa)),
        average_pool(average_pool_for(isa)) {}

  DepthwiseFunction depthwise;
  NormFunction norm;
  QuantizeFunction quantize;
  NarrowFunction narrow;  // null where nothing is multiplied in bfloat16
  LinearFunction linear;
  GrnSumsFunction grn_sums;
  GrnApplyFunction grn_apply;
  AveragePoolFunction average_pool;
};

// Pixels of a tile that needs `floats` of scratch a pixel.
std::int64_t tile_pixels(std::ptrdiff_t floats) { return std::max<std::int64_t>(tile_floats() / floats, 8); }

int hidden_slice(int channels) { return std::min(kHiddenSlice, 4 * channels); }

// Inputs of a linear whose products are of fewer bits: one of the two is used.
struct NarrowRows {
  QuantizedRows quantized;
  Bfloat16Rows bfloat16;
};

// Bytes from one narrow row to the next: whole cache lines, and never a multiple of 1 KB, as row_stride().
std::ptrdiff_t narrow_row_bytes(Products products, std::ptrdiff_t inputs) {
  constexpr std::ptrdiff_t kLine = 64;
  const std::ptrdiff_t bytes = round_up(products == Products::kInt8 ? inputs : 2 * inputs, kLine);
  return bytes % 1024 == 0 ? bytes + kLine : bytes;
}

// Scratch floats of a narrow row, 0 for float32.
std::ptrdiff_t narrow_floats(Products products, std::ptrdiff_t inputs) {
  if (products == Products::kFloat32) return 0;
  const std::ptrdiff_t runs = products == Products::kInt8 ? quantized_runs(inputs) : 0;
  return (narrow_row_bytes(products, inputs) + runs * std::ptrdiff_t{sizeof(QuantizedRun)}) /
         std::ptrdiff_t{sizeof(float)};
}

// Room for `floats` floats in `memory`, which moves on behind it to a cache line.
float* take_lines(std::ptrdiff_t floats, float*& memory) {
  return std::exchange(memory, memory + round_up(floats, kLineFloats));
}

NarrowRows take_narrow(Products products, std::int64_t rows, std::ptrdiff_t inputs, float*& memory) {
  NarrowRows taken;
  const std::ptrdiff_t row_bytes = narrow_row_bytes(products, inputs);
  float* const begin = take_lines(rows * narrow_floats(products, inputs), memory);
  if (products == Products::kInt8) {
    auto* values = reinterpret_cast<std::uint8_t*>(begin);
    taken.quantized = {values, row_bytes, reinterpret_cast<QuantizedRun*>(values + rows * row_bytes),
                       quantized_runs(inputs)};
  } else if (products == Products::kBfloat16) {
    taken.bfloat16 = {reinterpret_cast<std::uint16_t*>(begin), row_bytes / std::ptrdiff_t{sizeof(std::uint16_t)}};
  }
  return taken;
}

// Rows and inputs of Pass::multiply() that are made narrow at a time.
constexpr std::int64_t kSliceRows = 64;
constexpr int kSliceInputs = 2 * kHiddenSlice;
static_assert(kHiddenSlice % kQuantizedInputs == 0);

// Floats a pixel of a slice of hidden activations in scratch: none where they come as bfloat16. Beside the stagger an
// odd number of cache lines, so that a column of them has all sets of the first-level cache.
std::ptrdiff_t hidden_slice_stride(int channels, Products products, Isa isa) {
  if (products == Products::kBfloat16) return 0;
  const std::ptrdiff_t lines = round_up(row_stride(hidden_slice(channels), isa), kLineFloats) / kLineFloats;
  return (lines | 1) * kLineFloats + row_stagger(isa);
}

// Scratch floats a pixel of a block: the branch and a slice of its hidden activation.
std::ptrdiff_t block_floats(int channels, Products products, Isa isa) {
  return scratch_stride(channels, isa) + hidden_slice_stride(channels, products, isa) +
         narrow_floats(products, channels) + narrow_floats(products, hidden_slice(channels));
}
constexpr std::ptrdiff_t kBlockBuffers = 4;  // each from a cache line on

// What a group needs, in floats: a picture of it, or each thread.
struct Plan {
  std::ptrdiff_t map = 0;      // the largest map, of which two take turns
  std::ptrdiff_t hidden = 0;   // the largest hidden map that goes to memory
  std::ptrdiff_t factors = 0;  // the widest hidden map, with GRN
  std::ptrdiff_t vector = 0;   // the widest vector of the head, of which two take turns
  std::ptrdiff_t tile = 0;     // of each thread
  std::ptrdiff_t slice = 0;    // of each thread, for Pass::multiply()

  std::ptrdiff_t thread() const { return tile + slice; }
  std::ptrdiff_t picture() const { return 2 * map + hidden + factors + 2 * vector; }
};

// Whether the outputs of a linear are shared out between the threads: when there are few pixels, and panels for all.
bool shares_channels(const PackedLinear& op, std::int64_t pixels, int threads) {
  return threads > 1 && pixels < threads * kFewPixels && op.panels() >= threads;
}

// A block's hidden map is in memory then.
bool shares_channels(const PackedBlock& block, std::int64_t pixels, int threads) {
  return shares_channels(block.project, pixels, threads);
}

Plan make_plan(const PackedNetwork& network, const Geometry& geometry, int threads) {
  const ConvNextConfig& config = network.config;
  const Isa isa = network.isa;
  Plan plan;
  const auto add_tile = [&plan](std::ptrdiff_t floats) {
    plan.tile = std::max(plan.tile, tile_pixels(floats) * floats + kBlockBuffers * kLineFloats);
  };
  for (const PackedConvolution& convolution : network.stem) add_tile(convolution.matrix.inputs);
  if (network.stem.size() == 2) {
    plan.map = geometry.stem_middle.pixels() * row_stride(network.stem[0].shape.out_channels, isa);
  }
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    const std::int64_t pixels = geometry.stages[i].pixels();
    const int channels = config.dims[i];
    plan.map = std::max(plan.map, pixels * scratch_stride(channels, isa));  // see block_by_channels()
    if (config.grn || shares_channels(network.stages[i].blocks.front(), pixels, threads)) {
      plan.hidden = std::max(plan.hidden, pixels * scratch_stride(4 * channels, isa));
    }
    if (config.grn) plan.factors = std::max(plan.factors, row_stride(4 * channels, isa));
    add_tile(block_floats(channels, network.block_products, isa));
    if (network.stages[i].downsample) add_tile(network.stages[i].downsample->matrix.inputs);
  }
  for (const Products products : {network.block_products, network.head_products}) {
    plan.slice = std::max(plan.slice, kSliceRows * narrow_floats(products, kSliceInputs));
  }
  plan.vector = row_stride(std::max({config.dims.back(), config.head_hidden, config.classes}), isa);
  for (std::ptrdiff_t* floats : {&plan.map, &plan.hidden, &plan.factors, &plan.vector, &plan.tile, &plan.slice}) {
    *floats = round_up(*floats, 16);  // each on cache lines of its own
  }
  return plan;
}

// One thread of a run with its scratch.
struct Worker {
  int thread = 0;
  float* tile = nullptr;
  float* slice = nullptr;
};

// The threads of a run.
struct Crew {
  ThreadPool* pool = nullptr;
  ThreadSpeeds* speeds = nullptr;  // null where work is divided evenly
  float* scratch = nullptr;
  Plan plan;

  int threads() const { return pool == nullptr ? 1 : pool->threads(); }

  // Calls task(i, worker) for each i in [0, tasks).
  template <class Task>
  void run(int tasks, const Task& task) const {
    const auto worker = [this](int thread) {
      float* memory = scratch + thread * plan.thread();
      return Worker{thread, memory, memory + plan.tile};
    };
    if (pool == nullptr || tasks == 1) {
      for (int i = 0; i < tasks; ++i) task(i, worker(0));
      return;
    }
    TaskShares shares(tasks, threads());
    const auto take_part = [&](int, int thread) {
      shares.take(thread, [&, own = worker(thread)](int i) { task(i, own); });
    };
    // By reference: a std::function would allocate for a copy.
    pool->run(std::min(tasks, threads()), std::cref(take_part));
  }

  // Calls task(first, count, worker) for pieces of [0, total), none above `most`, the same number for each thread: even
  // ones, or where there are few, and a thread that has done its own could not take another's, by the threads' speeds.
  template <class Task>
  void split(std::int64_t total, std::int64_t most, const Task& task) const {
    if (total == 0) return;
    const std::int64_t pieces = (total + most - 1) / most;
    if (speeds != nullptr && pieces <= kFewPieces * threads() && total >= kLeastItems * threads()) {
      split_by_speed(total, most, task);
      return;
    }
    const std::int64_t even = std::min(total, round_up(pieces, threads()));
    run(static_cast<int>(even), [&](int piece, const Worker& worker) {
      const std::int64_t first = total * piece / even;
      task(first, total * (piece + 1) / even - first, worker);
    });
  }

 private:
  static constexpr int kFewPieces = 4;   // a thread
  static constexpr int kLeastItems = 8;  // a thread

  template <class Task>
  void split_by_speed(std::int64_t total, std::int64_t most, const Task& task) const {
    using Clock = std::chrono::steady_clock;
    const int count = threads();
    std::int64_t longest = 0;
    for (int t = 0; t < count; ++t) {
      longest = std::max(longest, speeds->begin_of(t + 1, total) - speeds->begin_of(t, total));
    }
    const int pieces = static_cast<int>((longest + most - 1) / most);  // of each thread
    std::array<ThreadSpeeds::Lap, ThreadSpeeds::kMostThreads> laps;
    run(pieces * count, [&](int piece, const Worker& worker) {
      const std::int64_t begin = speeds->begin_of(piece / pieces, total);
      const std::int64_t length = speeds->begin_of(piece / pieces + 1, total) - begin;
      const std::int64_t first = begin + length * (piece % pieces) / pieces;
      const std::int64_t end = begin + length * (piece % pieces + 1) / pieces;
      if (first == end) return;  // of a short part there may be fewer pixels than pieces
      const Clock::time_point start = Clock::now();
      task(first, end - first, worker);
      ThreadSpeeds::Lap& lap = laps[static_cast<std::size_t>(worker.thread)];
      lap.seconds += std::chrono::duration<double>(Clock::now() - start).count();
      lap.items += end - first;
    });
    speeds->learn(std::span(laps).first(static_cast<std::size_t>(count)));
  }
};

// The same map of all pictures of a group.
struct Maps {
  float* data = nullptr;
  std::int64_t count = 0;
  MapSize size;
  int channels = 0;
  std::ptrdiff_t stride = 0;

  std::int64_t pixels() const { return count * size.pixels(); }
  float* pixel(std::int64_t index) const { return data + index * stride; }
  float* picture(std::int64_t index) const { return pixel(index * size.pixels()); }
};

// A group of pictures on its way through the network.
class Pass {
 public:
  Pass(const PackedNetwork& network, const Kernels& kernels, const Geometry& geometry, const Crew& crew,
       Profile* profile, std::int64_t count, float* memory)
      : network_(network),
        kernels_(kernels),
        geometry_(geometry),
        crew_(crew),
        profile_(profile),
        activation_(epilogue_of(network.config.activation)),
        factors_stride_(crew.plan.factors),
        features_stride_(crew.plan.vector) {
    const Plan& plan = crew.plan;
    now_.count = count;
    const auto take = [&memory, count](std::ptrdiff_t floats) {
      return std::exchange(memory, memory + count * floats);
    };
    now_.data = take(plan.map);
    other_ = take(plan.map);
    hidden_ = take(plan.hidden);
    factors_ = take(plan.factors);
    features_ = take(plan.vector);
    other_features_ = take(plan.vector);
  }

  void stem(const float* input);
  void begin_stage(std::size_t stage) { part_ = stage_part(stage); }
  void downsample(std::size_t stage);
  void block(const PackedBlock& block);
  void store_map(float* out) const;  // (count, channels, height, width)
  void pool();
  void classify();
  void store_features(int channels, float* out) const;  // (count, channels)

 private:
  Maps next(const MapSize& size, int channels) const {
    return {other_, now_.count, size, channels, row_stride(channels, network_.isa)};
  }
  void advance(const Maps& next) { other_ = std::exchange(now_, next).data; }

  // `view(picture)` is what the convolution reads of a picture of the group.
  template <class View>
  void convolve(const PackedConvolution& op, const View& view, const PackedNorm* before, const PackedNorm* after,
                Epilogue epilogue, const Maps& out);
  template <class Part>
  void for_each_picture(std::int64_t pixels, std::int64_t first, std::int64_t count, const Part& part) const;
  ProfileTimer timer(const Worker& worker) const { return {profile_, worker.thread, part_}; }
  void multiply(const PackedLinear& op, const LinearCall& whole, const Worker& worker) const;
  void narrow(const PackedLinear& op, const NarrowRows& rows, LinearCall& call) const;
  void branch(const PackedBlock& block, std::int64_t first, std::int64_t count, float* out, std::ptrdiff_t out_stride,
              ProfileTimer& timer) const;
  void block_in_tiles(const PackedBlock& block, const Maps& out);
  void block_with_grn(const PackedBlock& block, const Maps& out);
  void block_by_channels(const PackedBlock& block, const Maps& out);
  void grn_factors_of_pictures(const PackedBlock& block);
  void apply_grn(const PackedBlock& block, std::int64_t first, std::int64_t count) const;
  template <class Task>
  void split_panels(const PackedLinear& op, const Task& task) const;
  void multiply_features(const PackedLinear& op, Epilogue epilogue);
  PictureView view_of(std::int64_t picture) const {
    return {now_.picture(picture),
            now_.size.height,
            now_.size.width,
            now_.channels,
            now_.stride * now_.size.width,
            now_.stride,
            1};
  }

  const PackedNetwork& network_;
  const Kernels& kernels_;
  const Geometry& geometry_;
  const Crew& crew_;
  Profile* profile_;
  NetworkPart part_ = NetworkPart::kStem;
  Epilogue activation_;
  Maps now_;       // what the next layer reads
  float* other_;   // where it writes
  float* hidden_;  // (pixels, 4 channels), scratch_stride() of that apart
  float* factors_;
  std::ptrdiff_t factors_stride_;
  float* features_;
  float* other_features_;
  std::ptrdiff_t features_stride_;
};

// Calls part(picture, start, length, done) for the pieces of [first, first + count), a range of a group's pixels, that
// lie in one picture: `start` counts from the picture's first pixel, `done` pixels of the range came before.
template <class Part>
void Pass::for_each_picture(std::int64_t pixels, std::int64_t first, std::int64_t count, const Part& part) const {
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t picture = (first + done) / pixels;
    const std::int64_t start = first + done - picture * pixels;
    const std::int64_t length = std::min(count - done, pixels - start);
    part(picture, start, length, done);
    done += length;
  }
}

template <class View>
void Pass::convolve(const PackedConvolution& op, const View& view, const PackedNorm* before, const PackedNorm* after,
                    Epilogue epilogue, const Maps& out) {
  const std::ptrdiff_t window = op.matrix.inputs;
  const std::int64_t taps = std::int64_t{op.shape.kernel} * op.shape.kernel;
  // Gathers and normalises the windows of pixels [first, first + count): the call that multiplies them.
  const auto prepare = [&](std::int64_t first, std::int64_t count, const Worker& worker, ProfileTimer& time) {
    float* const windows = worker.tile;
    for_each_picture(out.size.pixels(), first, count,
                     [&](std::int64_t picture, std::int64_t start, std::int64_t length, std::int64_t done) {
                       gather_windows(op.shape, op.windows, view(picture), start, length, windows + done * window);
                     });
    time.lap(Operation::kConvolution);
    if (before != nullptr) {
      kernels_.norm(*before, count * taps, windows, op.windows.tap_stride, windows, op.windows.tap_stride);
      time.lap(Operation::kNorm);
    }
    return whole_linear(op.matrix, count, windows, window, out.pixel(first), out.stride, epilogue);
  };
  const std::int64_t most = tile_pixels(window);
  if (after == nullptr && shares_channels(op.matrix, out.pixels(), crew_.threads())) {
    split_panels(op.matrix, [&](int first_panel, int last_panel, const Worker& worker) {
      ProfileTimer time = timer(worker);
      for (std::int64_t first = 0; first < out.pixels(); first += most) {
        LinearCall call = prepare(first, std::min(most, out.pixels() - first), worker, time);
        call.out += std::ptrdiff_t{first_panel} * op.matrix.panel_columns;
        call.first_panel = first_panel;
        call.last_panel = last_panel;
        multiply(op.matrix, call, worker);
        time.lap(Operation::kConvolution);
      }
    });
    return;
  }
  crew_.split(out.pixels(), most, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    ProfileTimer time = timer(worker);
    const LinearCall call = prepare(first, count, worker, time);
    multiply(op.matrix, call, worker);
    time.lap(Operation::kConvolution);
    if (after != nullptr) {
      kernels_.norm(*after, count, call.out, out.stride, call.out, out.stride);
      time.lap(Operation::kNorm);
    }
  });
}

void Pass::stem(const float* input) {
  part_ = NetworkPart::kStem;
  const MapSize size = geometry_.input;
  const int channels = network_.config.input_channels;
  const auto view = [&](std::int64_t picture) {
    return PictureView{
        input + picture * channels * size.pixels(), size.height, size.width, channels, size.width, 1, size.pixels()};
  };
  const PackedNorm* norm = network_.stem_norm ? &*network_.stem_norm : nullptr;
  const PackedConvolution& first = network_.stem.front();
  if (network_.stem.size() == 1) {
    const Maps out = next(geometry_.stages[0], first.shape.out_channels);
    convolve(first, view, nullptr, norm, Epilogue::kNone, out);
    return advance(out);
  }
  const bool acts = network_.config.stem == Stem::kOverlapAct;
  const Maps middle = next(geometry_.stem_middle, first.shape.out_channels);
  convolve(first, view, nullptr, nullptr, acts ? activation_ : Epilogue::kNone, middle);
  advance(middle);
  const PackedConvolution& second = network_.stem.back();
  const Maps out = next(geometry_.stages[0], second.shape.out_channels);
  convolve(
      second, [this](std::int64_t picture) { return view_of(picture); }, nullptr, norm, Epilogue::kNone, out);
  advance(out);
}

void Pass::downsample(std::size_t stage) {
  const PackedConvolution& op = *network_.stages[stage].downsample;
  const Maps out = next(geometry_.stages[stage], op.shape.out_channels);
  // The windows do not overlap, so normalising them is normalising each pixel once.
  convolve(
      op, [this](std::int64_t picture) { return view_of(picture); }, &*network_.stages[stage].downsample_norm, nullptr,
      Epilogue::kNone, out);
  advance(out);
}

// The inputs of `call` as the products want them.
void Pass::narrow(const PackedLinear& op, const NarrowRows& rows, LinearCall& call) const {
  const int inputs = call.last_input - call.first_input;
  call.quantized = rows.quantized;
  call.bfloat16 = rows.bfloat16;
  if (op.products == Products::kInt8) kernels_.quantize(call.rows, inputs, call.in, call.in_stride, rows.quantized);
  if (op.products == Products::kBfloat16) kernels_.narrow(call.rows, inputs, call.in, call.in_stride, rows.bfloat16);
}

// A call for all inputs, in slices of them that stay in the second-level cache from panel to panel.
void Pass::multiply(const PackedLinear& op, const LinearCall& whole, const Worker& worker) const {
  const std::int64_t most = op.products == Products::kFloat32 ? whole.rows : kSliceRows;
  for (std::int64_t row = 0; row < whole.rows; row += most) {
    LinearCall call = whole;
    call.rows = std::min(most, whole.rows - row);
    call.out = whole.out + row * whole.out_stride;
    if (whole.residual != nullptr) call.residual = whole.residual + row * whole.out_stride;
    for (int input = 0; input < op.inputs; input += kSliceInputs) {
      call.in = whole.in + row * whole.in_stride + input;
      call.first_input = input;
      call.last_input = std::min(input + kSliceInputs, op.inputs);
      float* memory = worker.slice;
      narrow(op, take_narrow(op.products, call.rows, kSliceInputs, memory), call);
      kernels_.linear(op, call);
    }
  }
}

// depthwise -> norm of pixels [first, first + count).
void Pass::branch(const PackedBlock& block, std::int64_t first, std::int64_t count, float* out,
                  std::ptrdiff_t out_stride, ProfileTimer& timer) const {
  for_each_picture(now_.size.pixels(), first, count,
                   [&](std::int64_t picture, std::int64_t start, std::int64_t length, std::int64_t done) {
                     kernels_.depthwise(block.depthwise, now_.size.height, now_.size.width, now_.picture(picture),
                                        now_.stride, start, length, out + done * out_stride, out_stride);
                   });
  timer.lap(Operation::kDepthwise);
  kernels_.norm(block.norm, count, out, out_stride, out, out_stride);
  timer.lap(Operation::kNorm);
}

void Pass::block(const PackedBlock& block) {
  const Maps out = next(now_.size, now_.channels);
  if (shares_channels(block, now_.pixels(), crew_.threads())) {
    block_by_channels(block, out);
  } else if (block.grn) {
    block_with_grn(block, out);
  } else {
    block_in_tiles(block, out);
  }
  advance(out);
}

void Pass::block_in_tiles(const PackedBlock& block, const Maps& out) {
  const std::ptrdiff_t stride = now_.stride;
  const std::ptrdiff_t branch_stride = scratch_stride(now_.channels, network_.isa);
  const int hidden_channels = 4 * now_.channels;
  const int slice = hidden_slice(now_.channels);
  const std::ptrdiff_t hidden_stride = hidden_slice_stride(now_.channels, network_.block_products, network_.isa);
  const Products products = network_.block_products;
  const std::int64_t tile = tile_pixels(block_floats(now_.channels, products, network_.isa));
  const int slice_panels = kHiddenSlice / block.expand.panel_columns;
  crew_.split(now_.pixels(), tile, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    ProfileTimer time = timer(worker);
    float* memory = worker.tile;
    float* const inputs = take_lines(count * branch_stride, memory);
    float* const hidden = take_lines(count * hidden_stride, memory);
    branch(block, first, count, inputs, branch_stride, time);
    LinearCall expand = whole_linear(block.expand, count, inputs, branch_stride, hidden, hidden_stride, activation_);
    LinearCall project = whole_linear(block.project, count, hidden, hidden_stride, out.pixel(first), stride,
                                      Epilogue::kResidual, now_.pixel(first));
    narrow(block.expand, take_narrow(products, count, now_.channels, memory), expand);
    const NarrowRows narrow_hidden = take_narrow(products, count, slice, memory);
    // From activation to bfloat16 without a way through memory. Integers need the whole row first.
    expand.bfloat16_out = narrow_hidden.bfloat16;
    project.bfloat16 = narrow_hidden.bfloat16;
    for (int channel = 0; channel < hidden_channels; channel += slice) {
      expand.first_panel = channel / slice * slice_panels;
      expand.last_panel = std::min(expand.first_panel + slice_panels, block.expand.panels());
      expand.upcoming = block.project.part_of_panel(0, channel, std::min(channel + slice, hidden_channels));
      kernels_.linear(block.expand, expand);
      time.lap(Operation::kExpand);
      project.first_input = channel;
      project.last_input = std::min(channel + slice, hidden_channels);
      const bool last_slice = expand.last_panel == block.expand.panels();
      project.upcoming =
          last_slice ? std::span<const std::byte>() : block.expand.part_of_panel(expand.last_panel, 0, now_.channels);
      if (products == Products::kInt8) narrow(block.project, narrow_hidden, project);
      kernels_.linear(block.project, project);
      time.lap(Operation::kProject);
    }
  });
}

void Pass::block_with_grn(const PackedBlock& block, const Maps& out) {
  const std::ptrdiff_t stride = now_.stride;
  const std::ptrdiff_t branch_stride = scratch_stride(now_.channels, network_.isa);
  const std::ptrdiff_t hidden_stride = scratch_stride(4 * now_.channels, network_.isa);
  const std::int64_t tile = tile_pixels(block_floats(now_.channels, network_.block_products, network_.isa));
  crew_.split(now_.pixels(), tile, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    ProfileTimer time = timer(worker);
    branch(block, first, count, worker.tile, branch_stride, time);
    multiply(block.expand,
             whole_linear(block.expand, count, worker.tile, branch_stride, hidden_ + first * hidden_stride,
                          hidden_stride, activation_),
             worker);
    time.lap(Operation::kExpand);
  });
  grn_factors_of_pictures(block);
  crew_.split(now_.pixels(), tile, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    ProfileTimer time = timer(worker);
    apply_grn(block, first, count);
    time.lap(Operation::kGrn);
    multiply(block.project,
             whole_linear(block.project, count, hidden_ + first * hidden_stride, hidden_stride, out.pixel(first),
                          stride, Epilogue::kResidual, now_.pixel(first)),
             worker);
    time.lap(Operation::kProject);
  });
}

// Calls task(first, last, worker) for even ranges of a linear's panels, one a thread.
template <class Task>
void Pass::split_panels(const PackedLinear& op, const Task& task) const {
  crew_.split(op.panels(), op.panels(), [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    task(static_cast<int>(first), static_cast<int>(first + count), worker);
  });
}

void Pass::block_by_channels(const PackedBlock& block, const Maps& out) {
  const std::ptrdiff_t stride = now_.stride;
  const std::ptrdiff_t hidden_stride = scratch_stride(4 * now_.channels, network_.isa);
  const std::int64_t pixels = now_.pixels();
  // The branch lies where the output will: it is used up before the first sum is written.
  const std::ptrdiff_t branch_stride = scratch_stride(now_.channels, network_.isa);
  crew_.split(pixels, pixels, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
    ProfileTimer time = timer(worker);
    branch(block, first, count, out.data + first * branch_stride, branch_stride, time);
  });
  split_panels(block.expand, [&](int first, int last, const Worker& worker) {
    ProfileTimer time = timer(worker);
    LinearCall expand =
        whole_linear(block.expand, pixels, out.data, branch_stride,
                     hidden_ + std::ptrdiff_t{first} * block.expand.panel_columns, hidden_stride, activation_);
    expand.first_panel = first;
    expand.last_panel = last;
    multiply(block.expand, expand, worker);
    time.lap(Operation::kExpand);
  });
  if (block.grn) {
    grn_factors_of_pictures(block);
    crew_.split(pixels, pixels, [&](std::int64_t first, std::int64_t count, const Worker& worker) {
      ProfileTimer time = timer(worker);
      apply_grn(block, first, count);
      time.lap(Operation::kGrn);
    });
  }
  split_panels(block.project, [&](int first, int last, const Worker& worker) {
    ProfileTimer time = timer(worker);
    const std::ptrdiff_t column = std::ptrdiff_t{first} * block.project.panel_columns;
    LinearCall project = whole_linear(block.project, pixels, hidden_, hidden_stride, out.data + column, stride,
                                      Epilogue::kResidual, now_.data + column);
    project.first_panel = first;
    project.last_panel = last;
    multiply(block.project, project, worker);
    time.lap(Operation::kProject);
  });
}

// The factors of every picture of the group. Split over channels, never over pixels, whose order is that of the sum.
void Pass::grn_factors_of_pictures(const PackedBlock& block) {
  const std::ptrdiff_t hidden_stride = scratch_stride(4 * now_.channels, network_.isa);
  const std::ptrdiff_t channels = padded_channels(4 * now_.channels, network_.isa);
  const std::ptrdiff_t slice = round_up(std::max<std::ptrdiff_t>(channels / crew_.threads(), 1), 16);
  const std::int64_t slices = (channels + slice - 1) / slice;
  crew_.run(static_cast<int>(now_.count * slices), [&](int task, const Worker& worker) {
    ProfileTimer time = timer(worker);
    const std::int64_t picture = task / slices;
    const std::ptrdiff_t first = task % slices * slice;
    kernels_.grn_sums(hidden_ + picture * now_.size.pixels() * hidden_stride, now_.size.pixels(), hidden_stride, first,
                      std::min(first + slice, channels), factors_ + picture * factors_stride_);
    time.lap(Operation::kGrn);
  });
  for (std::int64_t picture = 0; picture < now_.count; ++picture) {
    grn_factors(*block.grn, {factors_ + picture * factors_stride_, static_cast<std::size_t>(channels)});
  }
}

// To the hidden activations of pixels [first, first + count), in memory.
void Pass::apply_grn(const PackedBlock& block, std::int64_t first, std::int64_t count) const {
  const std::ptrdiff_t hidden_stride = scratch_stride(4 * now_.channels, network_.isa);
  for_each_picture(now_.size.pixels(), first, count,
                   [&](std::int64_t picture, std::int64_t, std::int64_t length, std::int64_t done) {
                     kernels_.grn_apply(*block.grn, factors_ + picture * factors_stride_, length,
                                        hidden_ + (first + done) * hidden_stride, hidden_stride);
                   });
}

void Pass::store_map(float* out) const {
  constexpr int kChannels = 16;
  const int slices = (now_.channels + kChannels - 1) / kChannels;
  crew_.run(static_cast<int>(now_.count) * slices, [&](int task, const Worker&) {
    const std::int64_t picture = task / slices;
    const int first = task % slices * kChannels;
    nhwc_to_nchw(now_.picture(picture), now_.stride, first, std::min(first + kChannels, now_.channels),
                 now_.size.pixels(), out + picture * now_.size.pixels() * now_.channels);
  });
}

// From the last map to the pooled features.
void Pass::pool() {
  part_ = NetworkPart::kHead;
  const bool norm_first = network_.config.head == Head::kNormPool;
  const PackedNorm& norm = network_.head_norm;
  const std::ptrdiff_t stride = now_.stride;
  if (norm_first) {
    const Maps out = next(now_.size, now_.channels);
    crew_.split(now_.pixels(), tile_pixels(stride), [&](std::int64_t first, std::int64_t count, const Worker& worker) {
      ProfileTimer time = timer(worker);
      kernels_.norm(norm, count, now_.pixel(first), stride, out.pixel(first), stride);
      time.lap(Operation::kHead);
    });
    advance(out);
  }
  const std::ptrdiff_t channels = padded_channels(now_.channels, network_.isa);
  crew_.run(static_cast<int>(now_.count), [&](int picture, const Worker& worker) {
    ProfileTimer time = timer(worker);
    float* features = features_ + picture * features_stride_;
    kernels_.average_pool(now_.picture(picture), now_.size.pixels(), stride, channels, features);
    if (!norm_first) kernels_.norm(norm, 1, features, features_stride_, features, features_stride_);
    time.lap(Operation::kHead);
  });
  if (network_.head_hidden) multiply_features(*network_.head_hidden, Epilogue::kGelu);
}

void Pass::classify() { multiply_features(*network_.classifier, Epilogue::kNone); }

// Split over the outputs: there are fewer pictures than threads as often as not.
void Pass::multiply_features(const PackedLinear& op, Epilogue epilogue) {
  split_panels(op, [&](int first, int last, const Worker& worker) {
    ProfileTimer time = timer(worker);
    LinearCall call =
        whole_linear(op, now_.count, features_, features_stride_,
                     other_features_ + std::ptrdiff_t{first} * op.panel_columns, features_stride_, epilogue);
    call.first_panel = first;
    call.last_panel = last;
    multiply(op, call, worker);
    time.lap(Operation::kHead);
  });
  std::swap(features_, other_features_);
}

void Pass::store_features(int channels, float* out) const {
  for (std::int64_t picture = 0; picture < now_.count; ++picture) {
    std::copy_n(features_ + picture * features_stride_, channels, out + picture * channels);
  }
}

// Where picture `first` of an output of `size` values a picture begins; null when the output is not wanted.
float* place(const TensorView& view, std::int64_t first, std::int64_t size) {
  return view.data == nullptr ? nullptr : reinterpret_cast<float*>(view.data) + first * size;
}

class CpuExecutable : public Executable {
 public:
  CpuExecutable(Isa isa, const ConvNextConfig& config, const WeightStore& weights, Precision precision,
                const CompileOptions& options)
      : network_(pack_network(isa, config, weights, precision, options)), kernels_(isa) {}

  std::uint64_t weight_bytes() const override { return network_.bytes(); }
  void run(const ConstTensorView& input, const OutputViews& outputs, Workspace& workspace) const override;

 private:
  void run_group(Pass& pass, const Geometry& geometry, const float* input, std::int64_t first,
                 const OutputViews& outputs) const;

  PackedNetwork network_;
  Kernels kernels_;
};

void CpuExecutable::run(const ConstTensorView& input, const OutputViews& outputs, Workspace& workspace) const {
  const ConvNextConfig& config = network_.config;
  const MapSize size = input_size(config.input_channels, input);
  const Geometry geometry = network_geometry(config, size.height, size.width);
  const std::int64_t total = check_views(config, geometry, input, outputs);
  if (total == 0) return;

  Crew crew;
  crew.pool = workspace.pool;
  if (crew.threads() > 1 && crew.threads() <= ThreadSpeeds::kMostThreads) {
    workspace.speeds.set_threads(crew.threads());
    crew.speeds = &workspace.speeds;
  }
  crew.plan = make_plan(network_, geometry, crew.threads());
  const std::int64_t group = std::clamp<std::int64_t>(kGroupFloats / crew.plan.picture(), 1, total);
  workspace.arena.reset();
  // One piece, so that the next run at these sizes finds it.
  const std::ptrdiff_t scratch_floats = crew.threads() * crew.plan.thread();
  float* memory =
      workspace.arena.take<float>(static_cast<std::size_t>(scratch_floats + group * crew.plan.picture())).data();
  crew.scratch = memory;
  const auto* pictures = reinterpret_cast<const float*>(input.data);
  for (std::int64_t first = 0; first < total; first += group) {
    Pass pass(network_, kernels_, geometry, crew, workspace.profile, std::min(group, total - first),
              memory + scratch_floats);
    run_group(pass, geometry, pictures + first * config.input_channels * size.pixels(), first, outputs);
  }
  workspace.arena.reset();  // now, not in the next run: it allocates when the arena has grown
}

void CpuExecutable::run_group(Pass& pass, const Geometry& geometry, const float* input, std::int64_t first,
                              const OutputViews& outputs) const {
  const ConvNextConfig& config = network_.config;
  pass.stem(input);
  for (std::size_t i = 0; i < network_.stages.size(); ++i) {
    pass.begin_stage(i);
    if (i > 0) pass.downsample(i);
    for (const PackedBlock& block : network_.stages[i].blocks) pass.block(block);
    if (outputs.stages.empty()) continue;
    float* stage = place(outputs.stages[i], first, config.dims[i] * geometry.stages[i].pixels());
    if (stage != nullptr) pass.store_map(stage);
  }
  const int features = embedding_channels(config);
  float* pooled = place(outputs.pooled, first, features);
  float* logits = network_.classifier ? place(outputs.logits, first, config.classes) : nullptr;
  if (pooled == nullptr && logits == nullptr) return;
  pass.pool();
  if (pooled != nullptr) pass.store_features(features, pooled);
  if (logits == nullptr) return;
  pass.classify();
  pass.store_features(config.classes, logits);
}

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(Isa isa) : isa_(isa) {}
  std::string_view name() const override { return name_of(isa_); }
  bool computes_in(Precision /*precision*/) const override { return true; }

  std::unique_ptr<Executable> compile(const NetworkConfig& config, const WeightStore& weights, Precision precision,
                                      const CompileOptions& options) const override {
    return std::make_unique<CpuExecutable>(isa_, check_compile(config, weights), weights, precision, options);
  }

 private:
  Isa isa_;
};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa isa : supported_isas()) {
    if (isa != Isa::kPortable) names.emplace_back(name_of(isa));
  }
  names.emplace_back(make_reference_backend()->name());
  return names;
}

std::unique_ptr<Backend> make_cpu_backend(std::string_view isa) {
  std::string_view source = "the option isa";
  if (isa.empty()) {
    const char* value = std::getenv("CONVNEXT_ISA");
    isa = value == nullptr ? "" : value;
    source = "CONVNEXT_ISA";
  }
  const std::vector<std::string> available = available_isas();
  const std::string wanted = isa.empty() ? available.front() : std::string(isa);
  if (std::find(available.begin(), available.end(), wanted) == available.end()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} is '{}', which this build cannot run on this machine: there are {}", source, wanted,
                            fmt::join(available, ", ")));
  }
  for (const Isa candidate : supported_isas()) {
    if (wanted == name_of(candidate)) return std::make_unique<CpuBackend>(candidate);
  }
  return make_reference_backend();
}

}  // namespace convnext
