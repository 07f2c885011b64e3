// JPEG files, as far as decode_jpeg() reads them, and their headers.
#include "fuzz/picture.h"
#include "io/picture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  convnext::decode_and_check(std::as_bytes(std::span(data, size)), convnext::decode_jpeg);
  return 0;
}
