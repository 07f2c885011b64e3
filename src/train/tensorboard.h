// Curves, settings and pictures of a run for TensorBoard, in the event files that it reads itself:
//
//   TensorBoardWriter board(run / "tensorboard", /*first_step=*/1);
//   board.scalar("loss/train", step, loss);          // then: tensorboard --logdir run
//
// A file is a sequence of TFRecords (length and bytes, each with a masked CRC-32C), a record an Event message
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto). Events carry the time of day, so that no
// two files are equal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "convnext/image.h"

namespace convnext {

class TensorBoardWriter {
 public:
  // Begins a new file in `folder`, which is made when it is not there. `first_step` is the first step that this session
  // will write about: of what earlier sessions of the run have written, TensorBoard then drops that step and all later
  // ones, which a run that goes on after its last checkpoint does again. Throws Error (kIo).
  TensorBoardWriter(const std::filesystem::path& folder, std::int64_t first_step);

  // Each is in the file when the call returns. `tag` names the chart; what stands before a '/' groups charts. All throw
  // Error (kIo) when the disk is full.
  void scalar(std::string_view tag, std::int64_t step, double value);
  // Markdown: indent by four spaces what must stay as it is.
  void text(std::string_view tag, std::int64_t step, std::string_view markdown);
  void image(std::string_view tag, std::int64_t step, const Image& image);

  const std::filesystem::path& file() const { return path_; }

 private:
  void write_event(std::int64_t step, std::string_view what);
  void write_record(std::string_view bytes);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace convnext
