// What a detector is, before it has weights: Mask R-CNN (He et al. 2017) and Cascade Mask R-CNN (Cai and Vasconcelos
// 2018) on a feature pyramid (Lin et al. 2017), over any backbone, as mmdetection configures them for ConvNeXt and
// Swin.
//
//   picture -> backbone -> a map for each of its four stages, strides 4 to 32, each through a norm of its own
//           -> pyramid: five maps of the same width, strides 4 to 64
//           -> proposals: boxes that may hold an object
//           -> box heads: what a box holds, and a better box; in a cascade three of them, each on the boxes of the last
//           -> mask heads: which pixels of a box are the object's
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/layers.h"
#include "model/tensors.h"

namespace convnext {

struct DetectorConfig {
  // The layers between the bins of a region and its scores.
  enum class BoxHead {
    kLinears,       // two linears of box_hidden
    kConvolutions,  // four convolutions 3x3 with batch norm, and one linear of box_hidden
  };
  // What a box head's errors are counted on.
  enum class BoxLoss {
    kDeltas,  // L1 on the deltas
    kGiou,    // 10 (1 - GIoU) on the boxes (Rezatofighi et al. 2019)
  };

  NetworkConfig backbone;    // without a head: classes 0; four stages
  bool output_norms = true;  // LayerNorm on the map of each stage
  int frozen_stages = 0;     // of the backbone, that training leaves as they are; from 1 on with the stem
  int pyramid_channels = 256;
  int classes = 80;

  double anchor_scale = 8;                              // side of a square anchor, in strides of its level
  std::vector<double> anchor_ratios = {0.5, 1.0, 2.0};  // height to width
  double anchor_positive = 0.7;                         // overlap with an object from which on an anchor learns it
  double anchor_negative = 0.3;                         // and below which it is background
  bool anchors_inside = false;                          // in training those that leave the picture are left out
  int anchor_samples = 256;                             // of a picture, half of them with objects at most
  double anchor_smooth_l1 = 0;                          // where smooth L1 turns from a square to a line; 0: L1
  int level_proposals_train = 2000;                     // the best of a level, before suppression
  int level_proposals = 1000;
  int proposals_train = 1000;  // that remain of all levels
  int proposals = 1000;
  double proposal_overlap = 0.7;  // of suppression

  BoxHead box_head = BoxHead::kLinears;
  BoxLoss box_loss = BoxLoss::kDeltas;
  int box_hidden = 1024;
  int box_bins = 7;       // a side, of a region that a box head looks at
  int mask_bins = 14;     // of one that a mask head looks at: its masks have twice as many
  int box_samples = 512;  // of a picture, a quarter of them with objects at most
  // An object gets the box that overlaps it most, whatever that one overlaps more; by as much as it takes at least.
  bool low_quality = true;
  // One a stage; several make a cascade.
  std::vector<double> stage_overlaps = {0.5};           // with an object, from which on a box learns it
  std::vector<double> stage_centre_deviations = {0.1};  // deltas of a box's centre are in these units
  std::vector<double> stage_size_deviations = {0.2};    // and those of its logarithmic size in these
  std::vector<double> stage_weights = {1.0};            // of losses

  double score_threshold = 0.05;   // what counts less is no detection
  double detection_overlap = 0.5;  // of suppression within a class
  int detections = 100;            // of a picture
  double mask_threshold = 0.5;

  int stages() const { return static_cast<int>(stage_overlaps.size()); }
  int anchors_of_place() const { return static_cast<int>(anchor_ratios.size()); }

  // Every field but the backbone by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("output_norms", config.output_norms);
    visit("frozen_stages", config.frozen_stages);
    visit("pyramid_channels", config.pyramid_channels);
    visit("classes", config.classes);
    visit("anchor_scale", config.anchor_scale);
    visit("anchor_ratios", config.anchor_ratios);
    visit("anchor_positive", config.anchor_positive);
    visit("anchor_negative", config.anchor_negative);
    visit("anchors_inside", config.anchors_inside);
    visit("anchor_samples", config.anchor_samples);
    visit("anchor_smooth_l1", config.anchor_smooth_l1);
    visit("level_proposals_train", config.level_proposals_train);
    visit("level_proposals", config.level_proposals);
    visit("proposals_train", config.proposals_train);
    visit("proposals", config.proposals);
    visit("proposal_overlap", config.proposal_overlap);
    visit("box_head", config.box_head);
    visit("box_loss", config.box_loss);
    visit("box_hidden", config.box_hidden);
    visit("box_bins", config.box_bins);
    visit("mask_bins", config.mask_bins);
    visit("box_samples", config.box_samples);
    visit("low_quality", config.low_quality);
    visit("stage_overlaps", config.stage_overlaps);
    visit("stage_centre_deviations", config.stage_centre_deviations);
    visit("stage_size_deviations", config.stage_size_deviations);
    visit("stage_weights", config.stage_weights);
    visit("score_threshold", config.score_threshold);
    visit("detection_overlap", config.detection_overlap);
    visit("detections", config.detections);
    visit("mask_threshold", config.mask_threshold);
  }
  bool operator==(const DetectorConfig&) const = default;
};

// "linears", "convolutions"; "deltas", "giou".
std::string_view name_of(DetectorConfig::BoxHead head);
std::string_view name_of(DetectorConfig::BoxLoss loss);

// Strides of the five levels of a pyramid; the first four are those of a backbone's stages.
inline constexpr int kPyramidLevels = 5;
inline constexpr int kPyramidStrides[kPyramidLevels] = {4, 8, 16, 32, 64};
// Sides of an input are multiples of this, so that the maps of all stages divide them: pictures are filled up to it.
inline constexpr int kDetectorInputMultiple = 32;
constexpr int filled_side(int side) {
  return (side + kDetectorInputMultiple - 1) / kDetectorInputMultiple * kDetectorInputMultiple;
}

// In a mask head, and in a box head that has any.
inline constexpr int kHeadConvolutions = 4;

// A Mask R-CNN over a registered network, which loses its head.
DetectorConfig mask_rcnn(const NetworkConfig& backbone);
// A cascade of three.
DetectorConfig cascade_mask_rcnn(const NetworkConfig& backbone);

// Throws Error (kInvalidArgument) with the field, its value and the range, when there can be no such detector: a
// backbone of four stages with strides 4 to 32 and no head; 1 to 1,000 classes; 1 to 4 stages with as many values each.
void validate(const DetectorConfig& config);

enum class DetectorPart { kBackbone, kPyramid, kProposals, kBoxes, kMasks };
inline constexpr DetectorPart kDetectorParts[] = {DetectorPart::kBackbone, DetectorPart::kPyramid,
                                                  DetectorPart::kProposals, DetectorPart::kBoxes, DetectorPart::kMasks};
// "backbone", "pyramid", "proposals", "boxes", "masks".
std::string_view name_of(DetectorPart part);

struct DetectorLayer {
  LayerSpec layer;  // its stage is that of the backbone, the level of the pyramid, or that of the cascade
  DetectorPart part = DetectorPart::kBackbone;
};

// In the order in which a picture meets them. `config` is valid.
std::vector<DetectorLayer> layer_specs(const DetectorConfig& config);
std::vector<TensorSpec> tensor_specs(const DetectorConfig& config);
// The layers of the backbone, by their names in a network of their own.
std::vector<LayerSpec> backbone_layers(const DetectorConfig& config);

struct DetectorPartCost {
  DetectorPart part = DetectorPart::kBackbone;
  std::int64_t params = 0;
  double gmac = 0;
};

// For one picture, as papers count: 1,000 proposals through each box head, 100 detections through each mask head.
struct DetectorCost {
  std::int64_t params = 0;
  double gmac = 0;             // convolutions and linears, 1e9
  double gmac_with_norms = 0;  // with 5 an element of a norm, 2 of a batch norm
  double gmac_attention = 0;   // the two products of attention, which gmac leaves out
  std::vector<DetectorPartCost> parts;
};

// Throws Error (kInvalidArgument) when the input is too small to leave a pixel at the last level.
DetectorCost count_cost(const DetectorConfig& config, std::int64_t height, std::int64_t width);

}  // namespace convnext
