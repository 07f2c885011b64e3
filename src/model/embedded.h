// Files of this folder that the library carries in itself.
#pragma once

#include <span>

namespace convnext {

std::span<const unsigned char> embedded_published();           // published.txt
std::span<const unsigned char> embedded_published_compared();  // published_compared.txt
std::span<const unsigned char> embedded_imagenet_labels();     // imagenet_labels.gz

}  // namespace convnext
