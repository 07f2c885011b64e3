"""What timm and transformers say of published weights and of their JSON files: python tools/goldens/cards.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/cards), for tests/published_test.cc and tests/card_sources_test.cc:

    timm.json        the pretrained_cfg of every ConvNeXt that timm has weights of, by name
    timm_compared.json  the same of what src/model/published_compared.txt has from timm
    processed.safetensors  what transformers' processors of some folders make of a picture of all values
    labels.json      some of ImageNet's classes: index and synset of timm's list by the number of its classes
    timm/NAME/       config.json as timm's save_for_hf writes it
    timm_compared/NAME/  config.json of networks of other families, some built for another size
    expected_compared.json  what timm's networks of those folders are
    transformers/NAME/  config.json and preprocessor_config.json as transformers' save_pretrained writes them
    expected.json    what timm's resolve_model_data_config and transformers' classes make of those folders
    versions.json    of what made the files
"""

import json
import pathlib
import shutil
import sys

import numpy
import timm
import torch
import transformers
from PIL import Image
from timm.data import ImageNetInfo, resolve_model_data_config
from timm.models import get_pretrained_cfg
from timm.models._hub import save_config_for_hf
from timm.models.swin_transformer import SwinTransformerBlock
from transformers import (
    BitImageProcessor,
    CLIPImageProcessor,
    ConvNextConfig,
    ConvNextImageProcessor,
    ConvNextV2Config,
    DINOv3ConvNextConfig,
    DINOv3ViTImageProcessor,
)

from golden_file import write_json, write_safetensors

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
KEPT = ("num_classes", "input_size", "test_input_size", "test_crop_pct", "mean", "std", "interpolation", "crop_pct",
        "crop_mode", "license", "url")


def compared_names():
    """What the table of other families names; the values are timm's."""
    lines = pathlib.Path("src/model/published_compared.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return [row[0] for row in rows if row[11] == "timm"]


def pretrained_cfgs(names):
    rows = {}
    for name in names:
        cfg = get_pretrained_cfg(name).to_dict()
        rows[name] = {key: cfg[key] for key in KEPT if cfg.get(key) not in (None, "")}
    return rows


def labels():
    rows = {}
    for subset in ("imagenet-1k", "imagenet-12k", "imagenet-22k"):
        info = ImageNetInfo(subset)
        count = info.num_classes()
        picked = sorted({0, 1, 2, count // 3, count // 2, count - 2, count - 1})
        rows[str(count)] = [[i, info.index_to_label_name(i), info.index_to_description(i)] for i in picked]
    return rows


def small(name, **arguments):
    """A network of few weights, so that it is made in no time."""
    return timm.create_model(name, depths=[1, 1, 1, 1], dims=[8, 16, 24, 32], **arguments)


def timm_folders(out):
    """(folder, model, arguments that save_for_hf is given)."""
    expected = {}
    models = {
        "plain": (small("convnext_tiny.fb_in22k_ft_in1k_384", num_classes=3), {"label_names": ["cat", "dog", "owl"]}),
        "synsets": (small("convnext_atto.d2_in1k", num_classes=2), {"label_names": ["n02123045", "n01440764"]}),
        "eps": (small("convnext_xxlarge.clip_laion2b_soup_ft_in1k", num_classes=5), {}),
        "activation": (small("test_convnext3.r160_in1k", num_classes=5), {}),
    }
    for name, (model, more) in models.items():
        folder = out / "timm" / name
        folder.mkdir(parents=True)
        config = {"num_classes": model.num_classes, **more}
        arguments = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
        save_config_for_hf(model, folder / "config.json", model_config=config, model_args=arguments)
        data = resolve_model_data_config(model)
        expected[f"timm/{name}"] = {
            "architecture": model.pretrained_cfg["architecture"],
            "resolution": data["input_size"][1],
            "mean": data["mean"],
            "std": data["std"],
            "interpolation": data["interpolation"],
            "crop_fraction": data["crop_pct"],
            "crop_mode": data["crop_mode"],
            "norm_eps": model.stages[0].blocks[0].norm.eps,
        }
    return expected


def timm_compared_folders(out):
    """The same of other families: what a network is built for, and where its config.json says so."""
    expected = {}
    models = {
        "deit_384": ("deit_base_patch16_384.fb_in1k", {}),
        "vit_320": ("vit_small_patch16_224.augreg_in21k_ft_in1k", {"img_size": 320}),
        "swin_384": ("swin_base_patch4_window12_384.ms_in1k", {}),
        "swin_256": ("swin_tiny_patch4_window7_224.ms_in1k", {"img_size": 256}),
        "swin_448": ("swin_tiny_patch4_window7_224.ms_in1k", {"img_size": 448}),
        "efficientnet_eps": ("efficientnet_b0.ra_in1k", {"bn_eps": 2e-3}),
        "resnet": ("resnet50.tv_in1k", {}),
        "regnet": ("regnety_040.pycls_in1k", {}),
    }
    for name, (pretrained, arguments) in models.items():
        folder = out / "timm_compared" / name
        folder.mkdir(parents=True)
        with torch.device("meta"):
            model = timm.create_model(pretrained, num_classes=3, **arguments)
        save_config_for_hf(model, folder / "config.json", model_config={"num_classes": 3}, model_args=arguments or None)
        blocks = [module for module in model.modules() if isinstance(module, SwinTransformerBlock)]
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        patches = getattr(model, "patch_embed", None)
        expected[name] = {
            "architecture": model.pretrained_cfg["architecture"],
            # The only size that it takes.
            "resolution": patches.img_size[0] if patches else model.pretrained_cfg["input_size"][1],
            "pads_windows": any(block.input_resolution[0] % block.window_size[0] for block in blocks),
            "norm_eps": norms[0].eps if norms else None,
        }
    return expected


def transformers_folders(out):
    sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    three = {"id2label": {0: "cat", 1: "dog", 2: "owl"}, "label2id": {"cat": 0, "dog": 1, "owl": 2}}
    folders = {
        "crop": (
            ConvNextConfig(**sizes, **three),
            ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.95, resample=3, **IMAGENET),
        ),
        "squash": (
            ConvNextConfig(**sizes, **three, layer_norm_eps=1e-5, hidden_act="silu"),
            ConvNextImageProcessor(size={"shortest_edge": 384}, crop_pct=0.875, resample=2, **IMAGENET),
        ),
        "v2": (
            ConvNextV2Config(**sizes, num_labels=5),
            ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875, resample=3, **IMAGENET),
        ),
        "bit": (
            ConvNextConfig(**sizes, **three, layer_scale_init_value=0.0),
            BitImageProcessor(size={"shortest_edge": 236}, crop_size={"height": 224, "width": 224}, resample=2, **IMAGENET),
        ),
        "clip": (
            ConvNextConfig(**sizes, **three),
            CLIPImageProcessor(size={"height": 256, "width": 256}, crop_size={"height": 240, "width": 240}),
        ),
        "raw": (
            ConvNextConfig(**sizes, **three),
            BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, do_rescale=False,
                              image_mean=[127.5, 127.5, 127.5], image_std=[64.0, 64.0, 64.0]),
        ),
        "dinov3": (
            DINOv3ConvNextConfig(**sizes),
            DINOv3ViTImageProcessor(size={"height": 224, "width": 224}, resample=2, **IMAGENET),
        ),
    }
    # By themselves scaling and normalising are other operations than the two together. The picture has their size.
    side = {"height": 16, "width": 16}
    cut = dict(size={"shortest_edge": 16}, crop_size=side)
    processed = {
        "usual": BitImageProcessor(**cut, **IMAGENET),
        "unscaled": BitImageProcessor(**cut, do_rescale=False, image_mean=[123.675, 116.28, 103.53],
                                      image_std=[58.395, 57.12, 57.375]),
        "factor": BitImageProcessor(**cut, rescale_factor=1 / 127.5, image_mean=[0.97, 0.91, 0.81],
                                    image_std=[0.46, 0.45, 0.44]),
        "unnormalized": BitImageProcessor(size=side, do_center_crop=False, do_normalize=False),
        "bytes": BitImageProcessor(**cut, do_rescale=False, do_normalize=False),
    }  # fmt: skip
    ramp = Image.fromarray(numpy.arange(256, dtype=numpy.uint8).reshape(16, 16, 1).repeat(3, axis=2))
    values = {name: processor(ramp, return_tensors="np")["pixel_values"][0] for name, processor in processed.items()}
    write_safetensors(out / "processed.safetensors", {n: v.astype(numpy.float32) for n, v in values.items()}, {})
    folders |= {name: (ConvNextConfig(**sizes, **three), processor) for name, processor in processed.items()}
    expected = {}
    for name, (config, processor) in folders.items():
        folder = out / "transformers" / name
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        expected[f"transformers/{name}"] = {"layer_norm_eps": config.layer_norm_eps, "hidden_act": config.hidden_act}
    return expected


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/goldens/cards")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "timm.json").write_text(json.dumps(pretrained_cfgs(timm.list_pretrained("*convnext*")), indent=1) + "\n")
    (out / "timm_compared.json").write_text(json.dumps(pretrained_cfgs(compared_names()), indent=1) + "\n")
    (out / "labels.json").write_text(json.dumps(labels(), indent=1) + "\n")
    write_json(out / "expected.json", {**timm_folders(out), **transformers_folders(out)})
    write_json(out / "expected_compared.json", timm_compared_folders(out))
    write_json(out / "versions.json", {"timm": timm.__version__, "transformers": transformers.__version__})


if __name__ == "__main__":
    main()
