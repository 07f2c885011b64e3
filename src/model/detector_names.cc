#include "model/detector_names.h"

#include <span>

#include "model/name_rows.h"

namespace convnext {
namespace {

// mmdet/models/necks/fpn.py, dense_heads/rpn_head.py; the norms are those of the backbones of its ConvNeXt and Swin.
constexpr NameRow kSharedNames[] = {
    {"output_norms.{s}.*", "backbone.norm{s}.*"},          {"pyramid.lateral.{s}.*", "neck.lateral_convs.{s}.conv.*"},
    {"pyramid.output.{s}.*", "neck.fpn_convs.{s}.conv.*"}, {"proposals.convolution.*", "rpn_head.rpn_conv.*"},
    {"proposals.scores.*", "rpn_head.rpn_cls.*"},          {"proposals.deltas.*", "rpn_head.rpn_reg.*"},
};

// mmdet/models/roi_heads/bbox_heads/convfc_bbox_head.py and mask_heads/fcn_mask_head.py in a StandardRoIHead.
constexpr NameRow kSingleNames[] = {
    {"box_heads.0.convolutions.{b}.*", "roi_head.bbox_head.shared_convs.{b}.conv.*"},
    {"box_heads.0.norms.{b}.{bn}", "roi_head.bbox_head.shared_convs.{b}.bn.{bn}"},
    {"box_heads.0.linears.{b}.*", "roi_head.bbox_head.shared_fcs.{b}.*"},
    {"box_heads.0.scores.*", "roi_head.bbox_head.fc_cls.*"},
    {"box_heads.0.deltas.*", "roi_head.bbox_head.fc_reg.*"},
    {"mask_heads.0.convolutions.{b}.*", "roi_head.mask_head.convs.{b}.conv.*"},
    {"mask_heads.0.upsample.*", "roi_head.mask_head.upsample.*"},
    {"mask_heads.0.logits.*", "roi_head.mask_head.conv_logits.*"},
};

// The same in a CascadeRoIHead.
constexpr NameRow kCascadeNames[] = {
    {"box_heads.{s}.convolutions.{b}.*", "roi_head.bbox_head.{s}.shared_convs.{b}.conv.*"},
    {"box_heads.{s}.norms.{b}.{bn}", "roi_head.bbox_head.{s}.shared_convs.{b}.bn.{bn}"},
    {"box_heads.{s}.linears.{b}.*", "roi_head.bbox_head.{s}.shared_fcs.{b}.*"},
    {"box_heads.{s}.scores.*", "roi_head.bbox_head.{s}.fc_cls.*"},
    {"box_heads.{s}.deltas.*", "roi_head.bbox_head.{s}.fc_reg.*"},
    {"mask_heads.{s}.convolutions.{b}.*", "roi_head.mask_head.{s}.convs.{b}.conv.*"},
    {"mask_heads.{s}.upsample.*", "roi_head.mask_head.{s}.upsample.*"},
    {"mask_heads.{s}.logits.*", "roi_head.mask_head.{s}.conv_logits.*"},
};

constexpr int kMaxStages = 4;  // of a backbone, a pyramid and a cascade alike
constexpr std::string_view kBackbone = "backbone.";

std::optional<TensorName> around_backbone(const DetectorLayout& layout, std::string_view name,
                                          NameDirection direction) {
  if (auto shared = translated(kSharedNames, name, direction, kMaxStages)) return shared;
  const std::span<const NameRow> heads = layout.is_cascade ? std::span<const NameRow>(kCascadeNames) : kSingleNames;
  return translated(heads, name, direction, kMaxStages);
}

std::optional<TensorName> in_backbone(std::optional<TensorName> name) {
  if (name) name->name.insert(0, kBackbone);
  return name;
}

}  // namespace

std::optional<TensorName> own_detector_name(const DetectorLayout& layout, std::string_view key) {
  // Before the backbone's own: there the norm of the last stage's output is a classifier's final norm.
  if (auto name = around_backbone(layout, key, NameDirection::kToOwn)) return name;
  if (!key.starts_with(kBackbone)) return std::nullopt;
  return in_backbone(own_name(layout.backbone, key.substr(kBackbone.size())));
}

std::optional<TensorName> detector_name_in(const DetectorLayout& layout, std::string_view own) {
  if (!own.starts_with(kBackbone)) return around_backbone(layout, own, NameDirection::kFromOwn);
  return in_backbone(name_in(layout.backbone, own.substr(kBackbone.size())));
}

}  // namespace convnext
