// What a camera shows, frame by frame, through one network with one set of scratch memory. Frames are raw RGB on
// standard input, as ffmpeg gives them:
//   ffmpeg -i /dev/video0 -vf scale=640:480 -f rawvideo -pix_fmt rgb24 - | camera_loop MODEL 640 480
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "convnext/convnext.h"

int main(int argc, char** argv) try {
  const int width = argc == 4 ? std::atoi(argv[2]) : 0;
  const int height = argc == 4 ? std::atoi(argv[3]) : 0;
  constexpr int kMaxSide = 16384;
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    std::fprintf(stderr, "usage: camera_loop MODEL WIDTH HEIGHT < frames\n");
    return 2;
  }
  const auto model = convnext::Model::load(argv[1]);
  convnext::Context context(model);
  std::vector<std::byte> frame(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (int number = 0; std::fread(frame.data(), 1, frame.size(), stdin) == frame.size(); ++number) {
    const auto start = std::chrono::steady_clock::now();
    const auto best = model.classify(convnext::Image::from_rgb(frame, width, height), context, 1).front();
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("frame %d: %s %.1f %%, %.1f ms\n", number, best.label.c_str(), 100 * best.probability, elapsed.count());
    std::fflush(stdout);
  }
  return 0;
} catch (const convnext::Error& error) {
  std::fprintf(stderr, "camera_loop: %s\n", error.what());
  return 1;
}
