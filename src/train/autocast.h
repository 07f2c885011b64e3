// Arithmetic in bfloat16 where that is safe, float32 elsewhere, for as long as the object lives: what
// torch.autocast(device, torch.bfloat16) is in Python. Weights stay float32.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace convnext {

class Autocast {
 public:
  // With `enabled` false it does nothing.
  Autocast(torch::DeviceType device, bool enabled)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        dtype_(at::autocast::get_autocast_dtype(device)),
        active_(enabled) {
    if (!active_) return;
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::set_autocast_dtype(device_, torch::kBFloat16);
    at::autocast::increment_nesting();
  }

  // The cache holds the weights of this step in bfloat16: kept longer, the next step would go on with them.
  ~Autocast() {
    if (!active_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_enabled_);
    at::autocast::set_autocast_dtype(device_, dtype_);
  }

  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  torch::DeviceType device_;
  bool was_enabled_;
  at::ScalarType dtype_;
  bool active_;
};

}  // namespace convnext
