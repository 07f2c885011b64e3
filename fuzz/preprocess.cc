// Preprocessing of pictures of any size by any settings: refused, or a tensor of finite numbers.
#include <fuzzer/FuzzedDataProvider.h>

#include <cmath>

#include "convnext/image.h"
#include "fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  FuzzedDataProvider choice(data, size);
  constexpr int kMostPixels = 20'000;
  Image image;
  image.width = choice.ConsumeIntegralInRange(1, choice.ConsumeBool() ? 100 : kMostPixels);
  image.height = choice.ConsumeIntegralInRange(1, kMostPixels / image.width);
  Preprocessing settings;
  settings.resolution = choice.ConsumeIntegralInRange(0, 80);
  settings.interpolation = static_cast<Interpolation>(choice.ConsumeIntegralInRange(0, 4));
  settings.crop_mode = static_cast<CropMode>(choice.ConsumeIntegralInRange(0, 2));
  settings.pipeline = static_cast<PixelPipeline>(choice.ConsumeIntegralInRange(0, 3));
  settings.crop_fraction =
      choice.ConsumeBool() ? choice.ConsumeFloatingPointInRange(0.0, 2.5) : choice.ConsumeFloatingPoint<double>();
  image.pixels.resize(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  const std::string pixels = choice.ConsumeRandomLengthString(image.pixels.size());
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] =
        pixels.empty() ? static_cast<std::uint8_t>(i) : static_cast<std::uint8_t>(pixels[i % pixels.size()]);
  }
  read_or_refuse([&] {
    const Tensor tensor = preprocess(image, settings);
    require(tensor.shape() == Shape({3, settings.resolution, settings.resolution}));
    for (const float value : tensor.values<float>()) require(std::isfinite(value));
  });
  return 0;
}
