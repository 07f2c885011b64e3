"""Outputs of RegNet and EfficientNet, computed by timm in float64: tests/goldens/regnets_and_efficientnets/.

<kind>.safetensors, as networks.py writes them for ConvNeXt: weights are fill(model, SEED), the input is
formula_input("input", shape, SEED), and accuracy.json tells how far timm's own float32 run is from each output, and how
far networks are that are wrong in one thing.

torchvision_names.json has, for networks of every structure, what torchvision calls each tensor that we name as timm
does, and its shape. torchvision's network with timm's weights under those names gives timm's outputs, or there is no
file.

torchvision_<kind>.safetensors are logits of such networks by torchvision itself, with weights from the formula by
torchvision's names.
"""

import copy
import dataclasses
import functools
import json
import re
import unittest.mock

import torch
import torchvision
from formula import fill, formula_input, formula_weights
from network_golden import SEED, relative_l2, write_network, write_networks, write_torchvision_network
from timm.layers import SEModule
from timm.layers.padding import pad_same
from timm.models import regnet
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torchvision.models.efficientnet import EfficientNet as TorchvisionEfficientNet
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.regnet import RegNet as TorchvisionRegNet

FOLDER = "regnets_and_efficientnets"
CLASSES = 11


@dataclasses.dataclass
class Kind:
    architecture: str
    depths: list
    dims: list
    size: tuple  # (height, width) of the input: odd, so that both paddings show at every stride


# Widths that leave halves and odd numbers over where timm rounds. A stage that keeps the width of the one before has a
# shortcut in its first block where its stride is 1.
V1 = dict(depths=[1, 2, 1, 2, 1, 1, 1], dims=[32, 18, 20, 28, 28, 36, 44])
V2 = dict(depths=[2, 2, 1, 2, 1, 1], dims=[24, 28, 42, 44, 44, 52])

KINDS = {
    "regnetx_040": Kind("regnetx_040", [1, 2, 1, 1], [24, 40, 80, 120], (47, 39)),
    "regnety_040": Kind("regnety_040", [2, 1, 2, 1], [42, 64, 128, 192], (47, 39)),
    "efficientnet_b0": Kind("efficientnet_b0", **V1, size=(47, 39)),
    "tf_efficientnet_b0": Kind("tf_efficientnet_b0", **V1, size=(47, 39)),
    "tf_efficientnet_b0_even": Kind("tf_efficientnet_b0", **V1, size=(44, 36)),
    "efficientnetv2_s": Kind("efficientnetv2_s", **V2, size=(51, 37)),
    "tf_efficientnetv2_s": Kind("tf_efficientnetv2_s", **V2, size=(51, 37)),
}

_V1_STAGES = ["ds_k3_s1_e1", "ir_k3_s2_e6", "ir_k5_s2_e6", "ir_k3_s2_e6", "ir_k5_s1_e6", "ir_k5_s2_e6", "ir_k3_s1_e6"]
_V2_STAGES = ["cn_k3_s1_e1", "er_k3_s2_e4", "er_k3_s2_e4", "ir_k3_s2_e4", "ir_k3_s1_e6", "ir_k3_s2_e6"]


def is_regnet(kind):
    return kind.architecture.startswith("regnet")


def is_v2(kind):
    return "v2" in kind.architecture


def build_regnet(kind):
    """timm computes depths and widths; here they are given."""
    config = regnet.model_cfgs[kind.architecture]
    widths = [width for width, depth in zip(kind.dims, kind.depths) for _ in range(depth)]
    stages = (widths, len(kind.dims), [config.group_size] * len(kind.dims))
    with unittest.mock.patch.object(regnet, "generate_regnet", lambda *arguments: stages):
        return regnet.RegNet(config, num_classes=CLASSES)


def build_efficientnet(kind, same_padding):
    stages = []
    for stage, depth, dim in zip(_V2_STAGES if is_v2(kind) else _V1_STAGES, kind.depths, kind.dims):
        more = "_se0.25" if stage[:2] in ("ds", "ir") else "_skip" if stage[:2] == "cn" else ""
        stages.append([f"{stage[:2]}_r{depth}{stage[2:]}_c{dim}{more}"])
    eps = 1e-3 if kind.architecture.startswith("tf_") else 1e-5
    return EfficientNet(
        block_args=decode_arch_def(stages),
        num_classes=CLASSES,
        num_features=1280,
        stem_size=24 if is_v2(kind) else 32,
        round_chs_fn=lambda channels: channels,
        pad_type="same" if same_padding else "",
        act_layer=torch.nn.SiLU,
        norm_layer=functools.partial(torch.nn.BatchNorm2d, eps=eps),
    )


def build(kind, same_padding=None):
    if is_regnet(kind):
        return fill(build_regnet(kind), SEED).eval()
    if same_padding is None:
        same_padding = kind.architecture.startswith("tf_")
    return fill(build_efficientnet(kind, same_padding), SEED).eval()


def stages_of(model):
    return [model.s1, model.s2, model.s3, model.s4] if isinstance(model, regnet.RegNet) else list(model.blocks)


def run(model, x):
    """Arrays by name: logits, pooled, stages.0, stages.1, ..."""
    outputs = {}
    with torch.no_grad():
        features = model.stem(x) if isinstance(model, regnet.RegNet) else model.bn1(model.conv_stem(x))
        for i, stage in enumerate(stages_of(model)):
            features = stage(features)
            outputs[f"stages.{i}"] = features.clone()
        features = model.forward_features(x)
        outputs["pooled"] = model.forward_head(features, pre_logits=True)
        outputs["logits"] = model(x)
    return {name: tensor.double().numpy().copy() for name, tensor in outputs.items()}


def replace(model, kinds, make):
    """Puts make(old) in the place of every module of those kinds."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, make(child))


def change_epsilon(model):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3 if module.eps == 1e-5 else 1e-5


def squeeze_by_output(model):
    """A quarter of what leaves the block in place of what enters it, and the formula's weights of that shape."""
    for block in [module for module in model.modules() if hasattr(module, "se")]:
        last = block.conv3.conv if hasattr(block, "conv3") else getattr(block, "conv_pwl", None) or block.conv_pw
        old, squeezed = block.se, round(last.out_channels / 4)
        if isinstance(old, SEModule):
            block.se = SEModule(old.fc1.in_channels, rd_channels=squeezed)
        elif isinstance(old, SqueezeExcite):
            block.se = SqueezeExcite(old.conv_reduce.in_channels, rd_channels=squeezed, act_layer=torch.nn.SiLU)
    return fill(model.float(), SEED).double().eval()


def change_activation(model):
    replace(model, (torch.nn.ReLU, torch.nn.SiLU), lambda old: torch.nn.GELU())


def drop_block(block):
    """Leaves only the shortcut."""
    norm = block.conv3.bn if hasattr(block, "conv3") else [m for m in block.modules() if hasattr(m, "running_var")][-1]
    torch.nn.init.zeros_(norm.weight)
    torch.nn.init.zeros_(norm.bias)


def turn_filters(block):
    """Those of the widest convolution over pixels last to first, which is another channel for each group."""
    widest = max((m for m in block.modules() if hasattr(m, "kernel_size")), key=lambda m: (m.kernel_size, m.groups))
    widest.weight.data = widest.weight.data.flip(0)


def pad_same_before(*arguments, **more):
    """The odd pixel above and to the left."""
    x = arguments[0]
    return torch.flip(pad_same(torch.flip(x, (2, 3)), *arguments[1:], **more), (2, 3))


def wrong_outputs(kind, model, x):
    """Outputs of networks that are wrong in one thing, by its name."""
    changes = {"epsilon": change_epsilon, "activation": change_activation}
    if any(isinstance(module, (SEModule, SqueezeExcite)) for module in model.modules()):
        changes["no squeeze and excitation"] = lambda m: replace(
            m, (SEModule, SqueezeExcite), lambda old: torch.nn.Identity()
        )
        changes["squeezed by the output"] = squeeze_by_output
    for i, stage in enumerate(stages_of(model)):
        for j in range(len(list(stage.children()))):
            block = lambda m, i=i, j=j: list(stages_of(m)[i].children())[j]
            changes[f"block {i}.{j} dropped"] = lambda m, block=block: drop_block(block(m))
            changes[f"block {i}.{j} filters turned"] = lambda m, block=block: turn_filters(block(m))
    for name, change in changes.items():
        mutant = copy.deepcopy(model).double()
        mutant = change(mutant) or mutant
        yield name, run(mutant, x)
    if not is_regnet(kind):
        other = not kind.architecture.startswith("tf_")
        yield "the other padding", run(build(kind, same_padding=other).double(), x)
        if not other:
            with unittest.mock.patch("timm.layers.conv2d_same.pad_same", pad_same_before):
                yield "the odd pixel before", run(copy.deepcopy(model).double(), x)


def make(name, kind, path):
    shape = (1, 3, *kind.size)
    x = torch.from_numpy(formula_input("input", shape, SEED))
    model = build(kind)
    exact, single = run(copy.deepcopy(model).double(), x.double()), run(model, x)
    overrides = dict(depths=kind.depths, dims=kind.dims, classes=CLASSES)
    wrong = wrong_outputs(kind, model, x.double())
    return write_network(path, kind.architecture, overrides, shape, exact, single, wrong)


def torchvision_regnet(kind):
    config = regnet.model_cfgs[kind.architecture]
    groups = [min(config.group_size, dim) for dim in kind.dims]
    stages = len(kind.dims)
    parameters = BlockParams(kind.depths, kind.dims, groups, [1.0] * stages, [2] * stages, config.se_ratio or None)
    norm = lambda channels: torch.nn.BatchNorm2d(channels, eps=1e-5)
    return TorchvisionRegNet(parameters, num_classes=CLASSES, norm_layer=norm)


def torchvision_efficientnet(kind):
    settings, channels = [], 24 if is_v2(kind) else 32
    for stage, depth, dim in zip(_V2_STAGES if is_v2(kind) else _V1_STAGES, kind.depths, kind.dims):
        block, kernel, stride, expansion = stage.split("_")
        config = FusedMBConvConfig if block in ("cn", "er") else MBConvConfig
        settings.append(config(int(expansion[1:]), int(kernel[1:]), int(stride[1:]), channels, dim, depth))
        channels = dim
    norm = lambda channels: torch.nn.BatchNorm2d(channels, eps=1e-5)
    return TorchvisionEfficientNet(settings, 0.0, num_classes=CLASSES, norm_layer=norm, last_channel=1280)


_PARTS = {
    "ds": ["conv_dw bn1", "se.conv_reduce se.conv_expand", "conv_pw bn2"],
    "ir": ["conv_pw bn1", "conv_dw bn2", "se.conv_reduce se.conv_expand", "conv_pwl bn3"],
    "er": ["conv_exp bn1", "conv_pwl bn2"],
    "cn": ["conv bn1"],
}


def own_name(kind, key):
    """timm's name of a tensor of torchvision's."""
    if is_regnet(kind):
        names = {"a.0": "conv1.conv", "a.1": "conv1.bn", "b.0": "conv2.conv", "b.1": "conv2.bn", "c.0": "conv3.conv"}
        names |= {"c.1": "conv3.bn", "se.fc1": "se.fc1", "se.fc2": "se.fc2"}
        names |= {"proj.0": "downsample.conv", "proj.1": "downsample.bn"}
        if match := re.fullmatch(r"trunk_output\.block(\d)\.block\d-(\d+)\.(?:f\.)?(\w+\.\w+)\.(\w+)", key):
            stage, block, part, tensor = match.groups()
            return f"s{stage}.b{int(block) + 1}.{names[part]}.{tensor}"
        return key.replace("stem.0", "stem.conv").replace("stem.1", "stem.bn").replace("fc.", "head.fc.")
    if match := re.fullmatch(r"features\.(\d)\.(\d+)\.block\.(\d)\.(\w+)\.(\w+)", key):
        stage, block, part, member, tensor = match.groups()
        stage = int(stage) - 1
        parts = _PARTS[(_V2_STAGES if is_v2(kind) else _V1_STAGES)[stage][:2]][int(part)].split()
        return f"blocks.{stage}.{block}.{parts[{'0': 0, '1': 1, 'fc1': 0, 'fc2': 1}[member]]}.{tensor}"
    last = len(kind.dims) + 1
    for theirs, ours in ((f"features.{last}.0", "conv_head"), (f"features.{last}.1", "bn2")):
        key = key.replace(theirs, ours)
    key = key.replace("features.0.0", "conv_stem").replace("features.0.1", "bn1")
    return key.replace("classifier.1", "classifier")


def torchvision_names(kind):
    """[[torchvision's name, ours, shape], ...]."""
    model = torchvision_regnet(kind) if is_regnet(kind) else torchvision_efficientnet(kind)
    # The batches that a norm counts are no tensor of ours.
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    reference = build(kind, same_padding=False)
    ours = reference.state_dict()
    names = {key: own_name(kind, key) for key in state}
    assert len(set(names.values())) == len(state) and set(names.values()) <= set(ours)
    model.load_state_dict({key: ours[name] for key, name in names.items()}, strict=False)
    x = torch.from_numpy(formula_input("input", (1, 3, *kind.size), SEED))
    with torch.no_grad():
        error = relative_l2(model.eval()(x).numpy(), reference(x).numpy())
    assert error < 1e-5, f"{kind.architecture}: with timm's weights torchvision's logits are {error} away"
    return [[key, names[key], list(value.shape)] for key, value in state.items()]


# Widths that torchvision rounds as timm does: multiples of 8, V2's with its last stage as in M and L.
NAMED = {
    "regnetx_040": Kind("regnetx_040", [1, 2, 1, 1], [24, 40, 80, 120], (64, 64)),
    "regnety_040": Kind("regnety_040", [2, 1, 1, 1], [32, 64, 128, 192], (64, 64)),
    "efficientnet_b0": Kind("efficientnet_b0", [2, 2, 1, 1, 1, 1, 1], [16, 24, 24, 32, 32, 40, 48], (64, 64)),
    "efficientnetv2_s": Kind("efficientnetv2_s", [2, 2, 1, 1, 1, 1], [24, 32, 40, 48, 48, 56], (64, 64)),
}


def write_torchvision_names(out):
    names = {"torchvision": torchvision.__version__, "networks": []}
    for kind in NAMED.values():
        overrides = dict(depths=kind.depths, dims=kind.dims, classes=CLASSES)
        names["networks"].append(
            {"architecture": kind.architecture, "overrides": overrides, "tensors": torchvision_names(kind)}
        )
    # A tensor a line.
    text = json.dumps(names, separators=(",", ":")).replace('[["', '[\n["').replace('],["', '],\n["')
    (out / "torchvision_names.json").write_text(text + "\n")


def make_torchvision(kind, out):
    shape = (1, 3, *kind.size)
    model = (torchvision_regnet(kind) if is_regnet(kind) else torchvision_efficientnet(kind)).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if not key.endswith("_tracked")}
    values = {key: torch.from_numpy(value) for key, value in formula_weights(shapes, SEED).items()}
    path = out / f"torchvision_{kind.architecture}.safetensors"
    overrides = dict(depths=kind.depths, dims=kind.dims, classes=CLASSES)
    write_torchvision_network(path, model, kind.architecture, overrides, shapes, values, shape)


if __name__ == "__main__":
    if out := write_networks(FOLDER, KINDS, make):
        write_torchvision_names(out)
        for name in ("regnety_040", "efficientnet_b0", "efficientnetv2_s"):
            make_torchvision(NAMED[name], out)
