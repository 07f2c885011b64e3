// Where `cmake --install` puts models.
#pragma once

#include <filesystem>

namespace convnext {

// share/convnext/models beside the folder of the file that this code lies in, the shared library or a program; found
// from its place, so that an installed tree may be moved. Empty when there is none.
std::filesystem::path installed_models();

}  // namespace convnext
