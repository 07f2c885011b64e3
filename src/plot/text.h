// Text that a drawing can hold.
#pragma once

#include <string>

namespace convnext {

// `text` as UTF-8 without controls: those become blanks, and bytes that are not UTF-8 U+FFFD.
std::string drawable_text(const std::string& text);

}  // namespace convnext
