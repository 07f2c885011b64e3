// Shards: tar archives of pictures with their classes.
#include "fuzz/input.h"
#include "io/dataset.h"
#include "io/picture_file.h"
#include "io/shards.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const InputFile file(std::as_bytes(std::span(data, size)));
  const std::filesystem::path path = file.path();
  read_or_refuse([&] {
    const Dataset dataset = read_shards(std::span(&path, 1));
    for (const Sample& sample : dataset.samples) {
      require(sample.label >= 0 && static_cast<std::size_t>(sample.label) < dataset.classes.size());
      require(sample.picture.offset <= size && sample.picture.size <= size - sample.picture.offset);
      require(read_bytes(sample.picture).size() == sample.picture.size);
    }
  });
  return 0;
}
