// Model cards: what is read can be written, and comes back the same.
#include "model/card.h"

#include "fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  read_or_refuse([&] {
    const std::string written = card_to_json(card_from_json(json, "input"));
    try {
      require(card_to_json(card_from_json(written, "written")) == written);
    } catch (const Error&) {
      require(false);
    }
  });
  return 0;
}
