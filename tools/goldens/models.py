"""Reference networks out of timm's own parts, from a registered name of ours and overrides.

`overrides` uses the names of a model card: depths, dims, kernel_sizes, patch_size, classes, input_channels.
Parameters have the names of src/model/tensors.h, which are timm's.
"""

import timm
import torch
from timm.layers import LayerNorm, LayerNorm2d, NormMlpClassifierHead
from timm.models.convnext import ConvNeXtBlock, ConvNeXtStage

_TIMM_ARGUMENTS = {
    "depths": "depths",
    "dims": "dims",
    "kernel_sizes": "kernel_sizes",
    "patch_size": "patch_size",
    "classes": "num_classes",
    "input_channels": "in_chans",
}


class Isotropic(torch.nn.Module):
    """The paper's isotropic ConvNeXt (section 3.3), which timm has no class for: a stem without norm and one stage."""

    def __init__(self, depth, dim, patch_size=16, kernel_size=7, classes=1000, input_channels=3, layer_scale=False):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(input_channels, dim, patch_size, patch_size))
        stage = ConvNeXtStage(
            dim,
            dim,
            kernel_size=kernel_size,
            stride=1,
            depth=depth,
            ls_init_value=1e-6 if layer_scale else None,
            norm_layer=LayerNorm2d,
            norm_layer_cl=LayerNorm,
        )
        self.stages = torch.nn.Sequential(stage)
        self.head = NormMlpClassifierHead(dim, classes, norm_layer=LayerNorm2d, act_layer="gelu")

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))


_ISOTROPIC = {
    "convnext_isotropic_small": dict(depths=[18], dims=[384], layer_scale=False),
    "convnext_isotropic_large": dict(depths=[36], dims=[1024], layer_scale=True),
}

_TIMM_STAGES = 4  # whatever a network is given


def build(architecture, overrides):
    """A float32 model in evaluation mode; fill() gives it its values."""
    if architecture in _ISOTROPIC:
        settings = {**_ISOTROPIC[architecture], **overrides}
        (settings["depth"],), (settings["dim"],) = settings.pop("depths"), settings.pop("dims")
        return Isotropic(**settings).eval()

    arguments = {_TIMM_ARGUMENTS[key]: value for key, value in overrides.items()}
    if architecture.startswith("dinov3_"):
        architecture = architecture.removeprefix("dinov3_")
        arguments["num_classes"] = 0
    patch_size = arguments.get("patch_size", 4)
    if patch_size == 2:
        # timm puts a downsample of stride 2 before the first stage of such a network; ours never has one there.
        arguments["patch_size"] = 1
    # Stages that a network does not have are made and left out again.
    stages = len(arguments.get("depths", range(_TIMM_STAGES)))
    for name in ("depths", "dims", "kernel_sizes"):
        if isinstance(arguments.get(name), list):
            arguments[name] = arguments[name] + arguments[name][-1:] * (_TIMM_STAGES - stages)
    model = timm.create_model(architecture, pretrained=False, **arguments)
    model.stages = model.stages[:stages]
    if patch_size == 2:
        old = model.stem[0]
        model.stem[0] = torch.nn.Conv2d(old.in_channels, old.out_channels, kernel_size=2, stride=2)
    return model.eval()


def blocks_of(model):
    """The residual blocks, first to last."""
    return [module for module in model.modules() if isinstance(module, ConvNeXtBlock)]


def run(model, x):
    """Arrays by name: logits (absent without a classifier), pooled, and stages.0, stages.1, ... before any norm."""
    outputs = {}
    with torch.no_grad():
        features = model.stem(x)
        for i, stage in enumerate(model.stages):
            features = stage(features)
            outputs[f"stages.{i}"] = features
        if hasattr(model, "norm_pre"):
            features = model.norm_pre(features)
        outputs["pooled"] = model.head(features, pre_logits=True)
        if not isinstance(model.head.fc, torch.nn.Identity):
            outputs["logits"] = model.head(features)
            # The whole forward is the reference; the parts above are only to look inside it.
            assert torch.equal(outputs["logits"], model(x))
    return {name: tensor.double().numpy() for name, tensor in outputs.items()}
