#include "detect/picture_detection.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <new>

#include "convnext/error.h"
#include "detect/detection_augmentation.h"
#include "detect/detector_batch.h"

namespace convnext {
namespace {

// More are not held, however many threads there are: pictures are large.
constexpr int kMostAtATime = 16;

Image for_network(const Image& picture, const DetectorCard& card) {
  const PictureDraw draw = plain_picture(picture.width, picture.height, card.short_side, card.long_side);
  return prepare(picture, {}, draw).image;
}

// What the network finds, as it sees the pictures; on the device of its parameters.
std::vector<std::vector<Detection>> run_network(Detector& detector, const DetectorCard& card,
                                                std::span<const Image> prepared, DetectorSeconds* seconds) {
  DetectorBatch batch = make_batch(prepared, card);
  batch.pictures = batch.pictures.to(detector.parameters().front().device());
  return detector.detect(batch, seconds);
}

std::vector<PictureDetection> on_picture(std::span<const Detection> detections, const PictureSize& network,
                                         const PictureSize& picture, const DetectorCard& card) {
  std::vector<PictureDetection> found;
  for (const Detection& detection : detections) {
    if (!std::isfinite(detection.box.area())) continue;  // of a network that has come to NaN
    found.push_back(on_picture(detection, network, picture, static_cast<float>(card.detector.mask_threshold)));
  }
  return found;
}

// A picture on its way.
struct Passage {
  DetectedPicture found;
  Image picture;      // as it is in its file, where somebody wants it
  Image prepared;     // until the network has had it
  PictureSize given;  // its size for the network
  std::vector<Detection> detections;
  double opening = 0, pasting = 0, with_picture = 0;  // seconds
};

class Clock {
 public:
  // Since the last call.
  double lap() {
    const auto before = last_;
    last_ = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(last_ - before).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class Run {
 public:
  Run(Detector& detector, const DetectorCard& card, ThreadPool& pool, const DetectionRun& run)
      : detector_(detector), card_(card), pool_(pool), run_(run) {}

  void pictures(std::size_t count) {
    // Whole batches, and work for every thread.
    const auto batch = static_cast<std::size_t>(std::max(run_.batch_size, 1));
    const auto threads = static_cast<std::size_t>(std::min(pool_.threads(), kMostAtATime));
    const std::size_t at_a_time = (threads + batch - 1) / batch * batch;
    std::size_t begun = 0;
    const auto next_ones = [&] {
      std::vector<Passage> passages(std::min(at_a_time, count - begun));
      for (Passage& passage : passages) passage.found.number = begun++;
      return passages;
    };

    std::vector<Passage> last, current, next = next_ones();
    on_pool(next, last);
    while (!next.empty()) {
      current = std::move(next);
      next = next_ones();
      std::future<void> behind = std::async(std::launch::async, [&] { on_pool(next, last); });
      for (std::size_t first = 0; first < current.size(); first += batch) {
        detect(std::span(current).subspan(first, std::min(batch, current.size() - first)));
      }
      behind.get();
      take(last);
      last = std::move(current);
    }
    on_pool(next, last);
    take(last);
  }

 private:
  void on_pool(std::vector<Passage>& opened, std::vector<Passage>& found) {
    const auto tasks = static_cast<int>(opened.size() + found.size());
    pool_.run(tasks, [&](int task, int) {
      const auto i = static_cast<std::size_t>(task);
      if (i < found.size()) {
        paste(found[i]);
      } else {
        open(opened[i - found.size()]);
      }
    });
  }

  void open(Passage& passage) const {
    Clock clock;
    try {
      Image picture = run_.open(passage.found.number);
      passage.found.size = {picture.height, picture.width};
      passage.prepared = for_network(picture, card_);
      passage.given = {passage.prepared.height, passage.prepared.width};
      if (run_.with_picture) passage.picture = std::move(picture);
    } catch (const Error& error) {
      passage.found.error = error.what();
    } catch (const std::bad_alloc&) {
      passage.found.error = fmt::format("there is not enough memory for picture number {}", passage.found.number + 1);
    }
    passage.opening = clock.lap();
  }

  // Those of a batch that could be opened.
  void detect(std::span<Passage> batch) {
    std::vector<Passage*> good;
    std::vector<Image> prepared;
    for (Passage& passage : batch) {
      if (!passage.found.error.empty()) continue;
      good.push_back(&passage);
      prepared.push_back(std::move(passage.prepared));
    }
    if (good.empty()) return;
    std::vector<std::vector<Detection>> found =
        run_network(detector_, card_, prepared, run_.times ? &run_.times->parts : nullptr);
    for (std::size_t i = 0; i < good.size(); ++i) good[i]->detections = std::move(found[i]);
  }

  void paste(Passage& passage) const {
    if (!passage.found.error.empty()) return;
    Clock clock;
    passage.found.detections = on_picture(passage.detections, passage.given, passage.found.size, card_);
    passage.detections = {};
    passage.pasting = clock.lap();
    if (!run_.with_picture) return;
    run_.with_picture(passage.found, passage.picture);
    passage.picture = {};
    passage.with_picture = clock.lap();
  }

  void take(std::vector<Passage>& passages) const {
    for (Passage& passage : passages) {
      if (run_.times) {
        run_.times->opening += passage.opening;
        run_.times->pasting += passage.pasting;
        run_.times->with_picture += passage.with_picture;
      }
      run_.take(passage.found);
    }
    passages.clear();
  }

  Detector& detector_;
  const DetectorCard& card_;
  ThreadPool& pool_;
  const DetectionRun& run_;
};

}  // namespace

std::vector<std::vector<PictureDetection>> detect_on(Detector& detector, const DetectorCard& card,
                                                     std::span<const Image> pictures) {
  if (pictures.empty()) return {};
  std::vector<Image> prepared;
  for (const Image& picture : pictures) prepared.push_back(for_network(picture, card));
  const std::vector<std::vector<Detection>> detections = run_network(detector, card, prepared, nullptr);
  std::vector<std::vector<PictureDetection>> found;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    found.push_back(on_picture(detections[i], {prepared[i].height, prepared[i].width},
                               {pictures[i].height, pictures[i].width}, card));
  }
  return found;
}

std::vector<PictureDetection> detect_on(Detector& detector, const DetectorCard& card, const Image& picture) {
  return std::move(detect_on(detector, card, std::span(&picture, 1)).front());
}

void detect_on_pictures(Detector& detector, const DetectorCard& card, std::size_t pictures, ThreadPool& pool,
                        const DetectionRun& run) {
  Run(detector, card, pool, run).pictures(pictures);
}

}  // namespace convnext
