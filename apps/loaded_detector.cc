#include "apps/loaded_detector.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include "apps/terminal.h"
#include "detect/engine_backbone.h"
#include "model/detector_checkpoint.h"
#include "train/device.h"

namespace convnext::apps {

std::string LoadedDetector::name_of_class(int class_index) const {
  return card.labels.empty() ? fmt::format("class {}", class_index)
                             : card.labels[static_cast<std::size_t>(class_index)];
}

LoadedDetector load_detector(const std::string& model, const DeviceOptions& device,
                             const TensorFileOptions& file_options) {
  const torch::Device torch_device = open_device(device.device);
  const DetectorCheckpoint checkpoint = read_detector(model_file(model), file_options);
  for (const std::string& note : checkpoint.notes) report(note);

  const int threads = device.threads == 0 ? available_threads() : device.threads;
  at::set_num_threads(threads);
  LoadedDetector loaded;
  loaded.file = checkpoint.path;
  loaded.card = checkpoint.card;
  loaded.pool = std::make_unique<ThreadPool>(threads);
  loaded.detector = std::make_unique<Detector>(checkpoint.card.detector);
  load_weights(*loaded.detector, checkpoint.weights);
  loaded.detector->to(torch_device);
  loaded.detector->eval();
  if (torch_device.is_cpu()) {
    // Threads of its own: those of the pool are busy with the next pictures meanwhile.
    loaded.backbone_threads = std::make_unique<ThreadPool>(threads);
    loaded.detector->detect_with(
        engine_backbone(checkpoint.card.detector, checkpoint.weights, *loaded.backbone_threads));
  }
  return loaded;
}

}  // namespace convnext::apps
