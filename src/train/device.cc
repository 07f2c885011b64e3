#include "train/device.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "convnext/error.h"

namespace convnext {
namespace {

// Beside libtorch_cpu, so that both are of one build.
std::filesystem::path cuda_library() {
  Dl_info info{};
  const bool found = dladdr(reinterpret_cast<const void*>(&torch::cuda::is_available), &info) != 0 && info.dli_fname;
  const std::filesystem::path name = "libtorch_cuda.so";
  return found ? std::filesystem::path(info.dli_fname).parent_path() / name : name;
}

}  // namespace

torch::Device open_device(const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kUnsupported, fmt::format("cannot use --device {}: {}", name, why));
  };
  if (name == "cpu") return torch::kCPU;
  if (name != "cuda" && !name.starts_with("cuda:")) refuse("it is neither cpu nor cuda nor cuda:N");
  torch::Device device = torch::kCPU;
  try {
    device = torch::Device(name);
  } catch (const c10::Error&) {
    refuse("cuda: is followed by the number of a device");
  }
  if (!torch::cuda::is_available() && dlopen(cuda_library().c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    refuse(fmt::format("libtorch's CUDA library cannot be opened ({})", dlerror()));
  }
  const int devices = static_cast<int>(torch::cuda::device_count());
  if (devices == 0) refuse("libtorch finds no CUDA device");
  if (device.has_index() && device.index() >= devices) refuse(fmt::format("there are {} CUDA devices", devices));
  return device;
}

}  // namespace convnext
