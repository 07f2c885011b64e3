#include "engine/installed_models.h"

#include <dlfcn.h>
#include <link.h>

#include <system_error>

namespace convnext {
namespace fs = std::filesystem;
namespace {

// Something of this file's for the dynamic linker to look up.
constexpr char kAnchor = 0;

// The shared library, or the program when the library is part of that. Empty when the system does not tell.
fs::path own_file() {
  std::error_code error;
  Dl_info ignored;
  link_map* object = nullptr;
  const bool found = dladdr1(&kAnchor, &ignored, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) != 0;
  // The program itself has no name here.
  const bool is_library = found && object != nullptr && object->l_name != nullptr && *object->l_name != '\0';
  const fs::path file = is_library ? fs::canonical(object->l_name, error) : fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : file;
}

}  // namespace

fs::path installed_models() {
  // From bin/, lib/ or lib/x86_64-linux-gnu/ to the prefix.
  constexpr int kMaxSteps = 2;
  fs::path folder = own_file().parent_path();
  for (int step = 0; step < kMaxSteps && folder.has_relative_path(); ++step) {
    folder = folder.parent_path();
    const fs::path models = folder / "share/convnext/models";
    std::error_code ignored;
    if (fs::is_directory(models, ignored)) return models;
  }
  return {};
}

}  // namespace convnext
