"""Outputs of networks of every kind, computed by timm in float64: tests/goldens/networks/<kind>.safetensors.

Weights are fill(model, SEED), the input is formula_input("input", shape, SEED): float32 values, computed with in
float64. Each file holds `pooled`, `logits` (where there is a classifier) and every stage's output `stages.N`, as
float32, and in its metadata the registered name, the overrides and the shape of the input: all that is needed to
compute the same.

accuracy.json beside them tells in relative L2, ||a - b|| / ||b||, how far timm's own float32 run is from each output,
and for networks that are wrong in one thing how far the output is that shows it most. A wrong network that stays within
the tests' bounds stops the program: such a golden would prove nothing.
"""

import copy
import dataclasses

import timm
import torch
from formula import fill, formula_input
from models import blocks_of, build, run
from network_golden import SEED, write_network, write_networks


@dataclasses.dataclass
class Kind:
    architecture: str
    size: tuple  # (height, width) of the input
    overrides: dict = dataclasses.field(default_factory=dict)
    batch: int = 2
    outputs: tuple = ()  # all of them when empty


def small(depths, dims, **more):
    return dict(depths=depths, dims=dims, classes=11, **more)


KINDS = {
    # Stems and norms of timm's small networks. Sizes leave rows and columns over at every convolution.
    "atto": Kind("convnext_atto", (42, 35)),
    "atto_ols": Kind("convnext_atto_ols", (55, 46), small([1, 1, 2, 1], [24, 40, 56, 88])),
    "nano_ols": Kind("convnext_nano_ols", (53, 46), small([1, 2, 1, 1], [22, 36, 52, 80])),
    "zepto_rms": Kind("convnext_zepto_rms", (46, 39)),
    "zepto_rms_ols": Kind("convnext_zepto_rms_ols", (70, 58), small([1, 1, 2, 1], [14, 28, 44, 60])),
    "atto_rms": Kind("convnext_atto_rms", (70, 58), small([2, 1, 2, 1], [16, 32, 48, 96])),
    # Linears in place of 1x1 convolutions, and the heads.
    "tiny": Kind("convnext_tiny", (70, 58), small([2, 1, 3, 1], [16, 34, 66, 100])),
    "tiny_hnf": Kind("convnext_tiny_hnf", (86, 70), small([1, 1, 2, 2], [12, 24, 40, 56])),
    "large_mlp": Kind("convnext_large_mlp", (66, 51), small([1, 1, 1, 1], [16, 24, 40, 64])),
    "xxlarge": Kind("convnext_xxlarge", (70, 58), small([1, 2, 2, 1], [16, 32, 64, 128])),
    "dinov3_tiny": Kind("dinov3_convnext_tiny", (70, 58), dict(depths=[1, 1, 2, 1], dims=[16, 32, 64, 128])),
    # Activations, epsilon and kernel sizes of timm's test models.
    "test_convnext": Kind("test_convnext", (50, 54), dict(classes=100)),
    "test_convnext3": Kind("test_convnext3", (50, 38), dict(classes=100)),
    # Global response normalisation, over 1x1 convolutions and over linears.
    "v2_atto": Kind("convnextv2_atto", (42, 35)),
    "v2_tiny": Kind("convnextv2_tiny", (70, 58), small([1, 1, 2, 1], [16, 32, 48, 96])),
    # What the registered names do not reach.
    "free": Kind(
        "convnext_tiny",
        (16, 13),
        dict(
            depths=[1, 2, 1, 1],
            dims=[20, 36, 52, 68],
            kernel_sizes=[3, 3, 3, 3],
            patch_size=1,
            classes=7,
            input_channels=1,
        ),
    ),
    "patch_2": Kind("convnext_atto", (32, 27), small([1, 1, 2, 1], [16, 32, 64, 128], patch_size=2)),
    "isotropic": Kind("convnext_isotropic_small", (116, 132), dict(depths=[4], dims=[72], classes=11)),
    "isotropic_layer_scale": Kind("convnext_isotropic_large", (132, 116), dict(depths=[3], dims=[72], classes=11)),
    # The whole of the paper's smallest network.
    "convnext_tiny_224": Kind("convnext_tiny", (224, 224), batch=1, outputs=("logits",)),
}


def drop_block(block):
    """Leaves only the shortcut of a residual block."""
    torch.nn.init.zeros_(block.mlp.fc2.weight)
    torch.nn.init.zeros_(block.mlp.fc2.bias)


def swap_channels(block):
    """Exchanges two filters of the depthwise convolution."""
    weight = block.conv_dw.weight.data
    weight[[0, 1]] = weight[[1, 0]].clone()


def change_activation(model):
    """The erf form of GELU for any other activation, and its tanh form for the erf form."""
    for block in blocks_of(model):
        erf = isinstance(block.mlp.act, timm.layers.GELU)
        block.mlp.act = torch.nn.GELU(approximate="tanh" if erf else "none")


def change_epsilon(model):
    """1e-5 for 1e-6 and the reverse, in every norm over channels."""
    norms = [m for name, m in model.named_modules() if hasattr(m, "eps") and not name.endswith(".grn")]
    assert norms and all(norm.eps in (1e-5, 1e-6) for norm in norms)
    for norm in norms:
        norm.eps = 1e-5 if norm.eps == 1e-6 else 1e-6


def mutations(model):
    """Changes by name; each takes a copy of the model."""
    count = len(blocks_of(model))
    changes = {"activation": change_activation, "epsilon": change_epsilon}
    for i in range(count):
        changes[f"block {i} dropped"] = lambda m, i=i: drop_block(blocks_of(m)[i])
        changes[f"block {i} channels swapped"] = lambda m, i=i: swap_channels(blocks_of(m)[i])
    return changes


def make(name, kind, path):
    shape = (kind.batch, kind.overrides.get("input_channels", 3), *kind.size)
    x = torch.from_numpy(formula_input("input", shape, SEED))
    model = fill(build(kind.architecture, kind.overrides), SEED)

    def outputs_of(model, x):
        found = run(model, x)
        return {key: found[key] for key in kind.outputs or found}

    def wrong():
        for change_name, change in mutations(model).items():
            mutant = copy.deepcopy(model).double()
            change(mutant)
            yield change_name, outputs_of(mutant, x.double())

    exact = outputs_of(copy.deepcopy(model).double(), x.double())
    return write_network(path, kind.architecture, kind.overrides, shape, exact, outputs_of(model, x), wrong())


if __name__ == "__main__":
    write_networks("networks", KINDS, make)
