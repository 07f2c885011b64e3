#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace convnext {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSmallestBlock = std::size_t{1} << 16;  // many small takes share a block from the first call on

}  // namespace

std::byte* Arena::take_bytes(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() - kAlignment) throw std::bad_array_new_length();
  // At least one line each, so that two spans never share an address.
  const std::size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < rounded) {
    add_block(std::max(rounded, kSmallestBlock));
  }
  Block& block = blocks_.back();
  std::byte* const taken = block.data.get() + block.used;
  block.used += rounded;
  return taken;
}

void Arena::add_block(std::size_t bytes) {
  blocks_.reserve(blocks_.size() + 1);  // the block has an owner from the moment it exists
  blocks_.push_back({});
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  auto* const data = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(alignment)));
  blocks_.back().data = {data, Free(alignment)};
  blocks_.back().size = bytes;
  // A wish: most of the first call at a shape would go to faults of ordinary pages.
  if (bytes >= kHugePage) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
}

void Arena::reset() {
  if (blocks_.size() > 1) {
    const std::size_t total = capacity();
    blocks_.clear();  // before the new block is made: the two together may not fit
    add_block(total);
  }
  for (Block& block : blocks_) block.used = 0;
}

std::size_t Arena::capacity() const {
  std::size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  return total;
}

}  // namespace convnext
