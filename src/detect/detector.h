// Mask R-CNN and Cascade Mask R-CNN as libtorch modules (model/detector.h says what they are).
//
//   Detector detector(find_detector("mask_rcnn_convnext_tiny")->config);
//   load_weights(detector, weights);
//   const NamedLosses losses = detector.losses(batch, objects, /*key=*/step);  // sum them, and go back
//   detector.eval();
//   for (const Detection& found : detector.detect(batch).front()) ...
//
// Everything that is drawn follows from the key: the same key gives the same losses, and nothing else is kept from one
// call to the next but the statistics of batch norms.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "detect/box.h"
#include "detect/detections.h"
#include "detect/detector_batch.h"
#include "detect/heads.h"
#include "detect/part_timer.h"
#include "detect/picture_objects.h"
#include "detect/roi_align.h"
#include "model/detector.h"
#include "nn/network.h"

namespace convnext {

// "proposals.scores", "proposals.boxes", and for each stage "stage0.scores", "stage0.boxes", "stage0.masks"; weighted,
// so that their sum is what training minimises.
using NamedLosses = std::map<std::string, torch::Tensor>;

// The maps of a backbone's stages on a batch of pictures, channels before rows.
using StageMaps = std::function<std::vector<torch::Tensor>(const torch::Tensor& pictures)>;

class Detector : public torch::nn::Module {
 public:
  // Throws Error (kInvalidArgument) as validate(). Weights are libtorch's random ones until they are loaded. Parameters
  // of frozen stages take no gradient.
  explicit Detector(DetectorConfig config, double drop_path_rate = 0.0);

  const DetectorConfig& config() const { return config_; }

  // Batch norms of a backbone keep their statistics in training too, as mmdetection trains ResNets.
  void train(bool on = true) override;

  // The five maps, strides 4 to 64. `drop_key` as Network::forward().
  std::vector<torch::Tensor> pyramid(const torch::Tensor& pictures,
                                     std::optional<std::uint64_t> drop_key = std::nullopt);

  // `objects` has one a picture; a picture may have none. Branches of the backbone are dropped as `key` says too.
  // Throws Error (kInvalidArgument) for sizes, boxes, classes and masks that contradict each other. `seconds` must live
  // until backward() is done; for it a GPU is waited for after each part.
  NamedLosses losses(const DetectorBatch& batch, std::span<const PictureObjects> objects, std::uint64_t key,
                     LearningSeconds* seconds = nullptr);

  // Of each picture, best first, with the probabilities of their masks. In the mode of evaluation, for batch norms. For
  // `seconds` a GPU is waited for after each part.
  std::vector<std::vector<Detection>> detect(const DetectorBatch& batch, DetectorSeconds* seconds = nullptr);

  // From now on detect() has the maps of the stages from elsewhere: they are those of the backbone's weights, which
  // must not change any more. The detector's own norms and all after them stay its own.
  void detect_with(StageMaps backbone) { stage_maps_ = std::move(backbone); }

 private:
  // Of all levels one after another.
  struct ProposalOutputs {
    torch::Tensor logits;                    // (n, anchors)
    torch::Tensor deltas;                    // (n, anchors, 4)
    std::vector<std::vector<Box>> anchors;   // of each level
    std::vector<std::pair<int, int>> sizes;  // height and width of each level's map
  };
  // Regions of all pictures for one stage of the heads, those with an object first in each picture.
  struct Samples {
    std::vector<RegionOfInterest> regions;
    std::vector<int> objects;               // of the picture, -1: background
    std::vector<std::uint8_t> are_objects;  // whether a region is an object's own box
  };

  std::vector<torch::Tensor> pyramid_of(std::vector<torch::Tensor> stages);
  void check(const DetectorBatch& batch) const;
  void check(const DetectorBatch& batch, std::span<const PictureObjects> objects) const;
  ProposalOutputs propose_at(const std::vector<torch::Tensor>& maps);
  std::vector<int> usable_anchors(const ProposalOutputs& outputs, const PictureSize& size) const;
  void add_proposal_losses(const ProposalOutputs& outputs, const DetectorBatch& batch,
                           std::span<const PictureObjects> objects, std::uint64_t key, NamedLosses& losses) const;
  std::vector<std::vector<Box>> proposals_of(const ProposalOutputs& outputs, const DetectorBatch& batch) const;
  Samples sampled(const std::vector<std::vector<Box>>& proposals, std::span<const PictureObjects> objects, int stage,
                  std::uint64_t key) const;
  torch::Tensor box_loss(const Samples& samples, std::span<const PictureObjects> objects, const torch::Tensor& deltas,
                         int stage) const;
  torch::Tensor mask_loss(const std::vector<torch::Tensor>& maps, const Samples& samples, const DetectorBatch& batch,
                          std::span<const PictureObjects> objects, int stage, LearningTimer& timer);
  std::vector<std::vector<Box>> refined(const std::vector<RegionOfInterest>& regions, const std::vector<int>& classes,
                                        const std::vector<std::uint8_t>& left_out, const torch::Tensor& logits,
                                        const torch::Tensor& deltas, const DetectorBatch& batch, int stage) const;
  void add_masks(const std::vector<torch::Tensor>& maps, std::vector<std::vector<Detection>>& detections);

  DetectorConfig config_;
  StageMaps stage_maps_;  // none: the backbone's
  std::shared_ptr<Network> backbone_;
  std::vector<torch::nn::LayerNorm> output_norms_;  // none for a ResNet
  std::shared_ptr<FeaturePyramid> pyramid_;
  std::shared_ptr<ProposalHead> proposals_;
  std::vector<std::shared_ptr<BoxHead>> box_heads_;
  std::vector<std::shared_ptr<MaskHead>> mask_heads_;
};

}  // namespace convnext
