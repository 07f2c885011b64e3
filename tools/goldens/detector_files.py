"""Checkpoints as two generations of mmdetection save them: python tools/goldens/detector_files.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/detector_files), for tests/detector_files_test.cc, small detectors with formula
weights by our names (formula.py), given the names of their trainers here:

    mmdet2.pth    mmdetection 2.x with the authors' ConvNeXt: a Mask R-CNN whose meta has CLASSES and PALETTE
    mmdet3.pth    mmdetection 3.x with mmpretrain's ConvNeXt: a Cascade Mask R-CNN whose meta has dataset_meta; 80
                  classes that are not COCO's
    versions.json
"""

import collections
import json
import pathlib
import re
import shutil
import sys

import torch
from timm.models.convnext import ConvNeXt

from detectors import CASCADE, MASK_RCNN, shapes_of
from formula import formula_weights
from layouts import in_fb_names
from pytorch_files import mmengine, saved, small_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 3
DIMS = (4, 6, 8, 10)
CHANNELS, HIDDEN = 4, 6

# Ours on the left; the heads of a cascade have the number of their stage in their names, those of a Mask R-CNN none.
HEADS = (
    (r"^output_norms\.", "backbone.norm"),
    (r"^pyramid\.lateral\.(\d)", r"neck.lateral_convs.\1.conv"),
    (r"^pyramid\.output\.(\d)", r"neck.fpn_convs.\1.conv"),
    (r"^proposals\.convolution", "rpn_head.rpn_conv"),
    (r"^proposals\.scores", "rpn_head.rpn_cls"),
    (r"^proposals\.deltas", "rpn_head.rpn_reg"),
    (r"^box_heads\.", "roi_head.bbox_head."),
    (r"^mask_heads\.", "roi_head.mask_head."),
    (r"(bbox_head\.\d)\.convolutions\.(\d)", r"\1.shared_convs.\2.conv"),
    (r"\.norms\.(\d)", r".shared_convs.\1.bn"),
    (r"\.linears\.", ".shared_fcs."),
    (r"(bbox_head\.\d)\.scores", r"\1.fc_cls"),
    (r"(bbox_head\.\d)\.deltas", r"\1.fc_reg"),
    (r"(mask_head\.\d)\.convolutions\.(\d)", r"\1.convs.\2.conv"),
    (r"(mask_head\.\d)\.logits", r"\1.conv_logits"),
)


def state_of(kind, classes):
    backbone = ConvNeXt(depths=(1, 1, 1, 1), dims=DIMS, num_classes=0)
    shapes = shapes_of(kind, backbone, DIMS, CHANNELS, HIDDEN, 7, classes)
    weights = {name: torch.from_numpy(array.copy()) for name, array in formula_weights(shapes, SEED).items()}
    own = {name.removeprefix("backbone."): tensor for name, tensor in weights.items() if name.startswith("backbone.")}
    state = collections.OrderedDict((f"backbone.{name}", tensor) for name, tensor in in_fb_names(own).items())
    for name, tensor in weights.items():
        if name.startswith("backbone."):
            continue
        for pattern, theirs in HEADS:
            name = re.sub(pattern, theirs, name)
        state[name if len(kind.stages) > 1 else re.sub(r"_head\.0", "_head", name)] = tensor
    return state


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "goldens" / "detector_files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    # mmcv/runner/checkpoint.py and mmdet/apis/train.py
    meta = {
        "mmdet_version": "2.28.2+1a2b3c4",
        "config": "model = dict(\n    type='MaskRCNN')\n",
        "CLASSES": ("disc", "Box", "five-pointed star"),
        "PALETTE": [(220, 20, 60), (119, 11, 32), (0, 0, 142)],
        "env_info": "sys.platform: linux\nPython: 3.8.12",
        "seed": 0,
        "exp_name": "mask_rcnn_convnext.py",
        "epoch": 36,
        "iter": 263844,
        "mmcv_version": "1.7.1",
        "time": "Sat Jan 15 10:11:12 2022",
        "hook_msgs": {},
    }
    (folder / "mmdet2.pth").write_bytes(saved({"meta": meta, "state_dict": state_of(MASK_RCNN, 3)}))

    # mmengine/runner/runner.py: save_checkpoint()
    names = tuple(f"kind {number}" for number in range(80))
    checkpoint = mmengine(small_model())
    checkpoint["meta"] = {
        "cfg": "model = dict(type='CascadeRCNN')\n",
        "seed": 1608637542,
        "experiment_name": "cascade-mask-rcnn_convnext_20230101_000000",
        "time": "20230101_000000",
        "mmengine_version": "0.10.3",
        "dataset_meta": {"classes": names, "palette": [(i, 2 * i, 3 * i) for i in range(80)]},
        "epoch": 36,
        "iter": 263844,
    }
    # The backbone's, as mmpretrain names them.
    state = state_of(CASCADE, len(names))
    checkpoint["state_dict"] = collections.OrderedDict(
        (name.replace("dwconv", "depthwise_conv").replace("pwconv", "pointwise_conv"), tensor)
        for name, tensor in state.items()
    )
    (folder / "mmdet3.pth").write_bytes(saved(checkpoint))
    versions = {"torch": torch.__version__}
    (folder / "versions.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
