// Where training runs.
#pragma once

#include <torch/torch.h>

#include <string>

namespace convnext {

// "cpu", "cuda" or "cuda:N". Opens libtorch's CUDA library, which is not linked, when it is asked for. Throws Error
// (kUnsupported) with the reason when there is no such device: nothing falls back to another one.
torch::Device open_device(const std::string& name);

}  // namespace convnext
