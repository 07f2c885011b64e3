// What a detector finds on pictures as they are in their files: to the size that its card says, through the network,
// and back.
//
//   const DetectorCheckpoint checkpoint = read_detector("mask_rcnn.safetensors");
//   Detector detector(checkpoint.card.detector);
//   load_weights(detector, checkpoint.weights);
//   detector.eval();
//   for (const PictureDetection& found : detect_on(detector, checkpoint.card, Image::open("street.jpg"))) ...
//
// A detector works on the device that its parameters are on, in the mode that it is in: batch norms want that of
// evaluation.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "convnext/thread_pool.h"
#include "detect/detections.h"
#include "detect/detector.h"
#include "model/card.h"

namespace convnext {

// Best first, with masks of the picture's size.
std::vector<PictureDetection> detect_on(Detector& detector, const DetectorCard& card, const Image& picture);
// As one batch; pictures may differ in size.
std::vector<std::vector<PictureDetection>> detect_on(Detector& detector, const DetectorCard& card,
                                                     std::span<const Image> pictures);

// What became of one of many pictures.
struct DetectedPicture {
  std::size_t number = 0;  // its place among them
  PictureSize size;        // as it is in its file
  std::vector<PictureDetection> detections;
  std::string error;  // why it was skipped; empty when it was not
};

// Where the time of a run went. What the pool does is of all its threads together, while the network works.
struct DetectionTimes {
  double opening = 0;       // decoding and resizing
  DetectorSeconds parts{};  // of the network
  double pasting = 0;       // masks onto their pictures
  double with_picture = 0;  // DetectionRun::with_picture
};

struct DetectionRun {
  // Decodes a picture; called on the pool's threads. Its Error, or no memory for it, is what the picture is skipped
  // for.
  std::function<Image(std::size_t number)> open;
  // Called on the pool's threads too, for pictures that were not skipped, with the picture as it is in its file.
  // Without it no picture is held longer than the network needs.
  std::function<void(const DetectedPicture& found, const Image& picture)> with_picture{};
  // Called on the calling thread in the order of the numbers.
  std::function<void(DetectedPicture& found)> take;
  int batch_size = 1;  // pictures that the network is given at a time; those of one are padded to the largest
  DetectionTimes* times = nullptr;  // added to, when it is there
};

// Many pictures, numbered from 0: while the network works on some, the pool decodes and resizes the next ones and
// pastes the masks of the last. The network runs on the calling thread. Throws what with_picture, take and the network
// throw.
void detect_on_pictures(Detector& detector, const DetectorCard& card, std::size_t pictures, ThreadPool& pool,
                        const DetectionRun& run);

}  // namespace convnext
