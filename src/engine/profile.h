// Where the time of a run goes: nanoseconds of each thread by part of the network and operation, and what each of those
// should cost. A backend fills the profile that Workspace::profile points to:
//
//   ProfileTimer timer(workspace.profile, thread, stage_part(2));
//   ...                             timer.lap(Operation::kDepthwise);
//   ...                             timer.lap(Operation::kNorm);
//
// Without a profile a timer is a test for null.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/backend.h"
#include "model/config.h"

namespace convnext {

enum class NetworkPart { kStem, kStage1, kStage2, kStage3, kStage4, kHead };
inline constexpr std::size_t kNetworkParts = 6;

// Of the stage `index`, from 0; its downsampling belongs to it.
constexpr NetworkPart stage_part(std::size_t index) {
  return static_cast<NetworkPart>(static_cast<std::size_t>(NetworkPart::kStage1) + index);
}

enum class Operation {
  kConvolution,  // of the stem and of a downsampling
  kDepthwise,
  kNorm,     // of the stem, a downsampling or a block
  kExpand,   // a block's first linear with the activation
  kGrn,      // sums and scaling
  kProject,  // a block's second linear with layer scale and shortcut
  kHead,     // all of the head
};
inline constexpr std::size_t kOperations = 7;

std::string_view name_of(NetworkPart part);     // "stem", "stage 1", ..., "head"
std::string_view name_of(Operation operation);  // "convolution", "depthwise", ...

// Each thread adds to cells of its own, so that a run needs no locks; reading is for afterwards.
class Profile {
 public:
  struct Cell {
    std::int64_t nanoseconds = 0;
    std::int64_t calls = 0;
  };

  // For pools of up to `threads` threads.
  explicit Profile(int threads) : threads_(static_cast<std::size_t>(threads)) {}

  // `thread`: as ThreadPool::run() numbers them; 0 without a pool.
  void add(int thread, NetworkPart part, Operation operation, std::int64_t nanoseconds) {
    Cell& cell = threads_[static_cast<std::size_t>(thread)].cells[index_of(part, operation)];
    cell.nanoseconds += nanoseconds;
    ++cell.calls;
  }

  // Adds another's times, of as many threads.
  void merge(const Profile& other);

  int threads() const { return static_cast<int>(threads_.size()); }
  const Cell& of_thread(int thread, NetworkPart part, Operation operation) const {
    return threads_[static_cast<std::size_t>(thread)].cells[index_of(part, operation)];
  }
  // Of all threads together.
  Cell total(NetworkPart part, Operation operation) const;
  std::int64_t total_nanoseconds() const;

 private:
  static std::size_t index_of(NetworkPart part, Operation operation) {
    return static_cast<std::size_t>(part) * kOperations + static_cast<std::size_t>(operation);
  }

  struct alignas(64) Thread {  // no cache line is two threads'
    std::array<Cell, kNetworkParts * kOperations> cells{};
  };
  std::vector<Thread> threads_;
};

// Books the time from its making to lap(), and from each lap() to the next.
class ProfileTimer {
 public:
  ProfileTimer(Profile* profile, int thread, NetworkPart part) : profile_(profile), thread_(thread), part_(part) {
    if (profile_ != nullptr) last_ = Clock::now();
  }

  void lap(Operation operation) {
    if (profile_ == nullptr) return;
    const Clock::time_point now = Clock::now();
    profile_->add(thread_, part_, operation, std::chrono::duration_cast<std::chrono::nanoseconds>(now - last_).count());
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;

  Profile* profile_;
  int thread_;
  NetworkPart part_;
  Clock::time_point last_{};
};

// What an operation of a part costs for one batch, all blocks together.
struct OperationCost {
  NetworkPart part{};
  Operation operation{};
  std::int64_t multiply_accumulates = 0;  // of its convolutions and linears
  // What it reads and writes when each input, output and weight is touched once, in memory or in a cache: the weights
  // of blocks' linears and of dense convolutions, and what these linears read, in the precision; all else float32.
  std::uint64_t bytes = 0;
};

// Of a ConvNeXt, in its order, without operations that it does not have. Throws Error: kInvalidArgument when the
// pictures are too small for it, kUnsupported for another family.
std::vector<OperationCost> operation_costs(const NetworkConfig& config, std::int64_t batch, std::int64_t height,
                                           std::int64_t width, Precision precision);

}  // namespace convnext
