"""Weights, inputs and pictures from a formula: the same bits as src/model/formula.cc, in numpy.

    fill(model, seed)                                  every parameter of a timm model, by its name and shape
    formula_tensor("stem.0.weight", shape, role, seed)
    formula_input("input", (2, 3, 70, 58), seed)       float32 in [-0.25, 0.25)
    formula_picture(width, height, seed)               (height, width, 3), uint8

src/model/formula.h describes the formula, src/core/hash.h the hash. Integers are modulo 2^64, every float operation is
rounded to float32. Run as a program, this file writes tests/goldens/formula.safetensors: tensors of every role, inputs
and pictures, each named "<seed>/<name>", with the roles in the metadata.
"""

import argparse
import json
import math
import pathlib

import numpy

from golden_file import write_safetensors

_MASK = (1 << 64) - 1

WEIGHT = "weight"
BIAS = "bias"
NORM_WEIGHT = "norm_weight"
NORM_BIAS = "norm_bias"
LAYER_SCALE = "layer_scale"
GRN_WEIGHT = "grn_weight"
GRN_BIAS = "grn_bias"
RUNNING_MEAN = "running_mean"
RUNNING_VARIANCE = "running_variance"
EMBEDDING = "embedding"
INPUT = "input"


def hash_name(name):
    """FNV-1a, 64 bits, of the UTF-8 bytes."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def mix(key):
    """The finaliser of SplitMix64, of one integer or of an array of uint64."""
    if isinstance(key, int):
        return int(mix(numpy.array([key & _MASK], dtype=numpy.uint64))[0])
    key = key + numpy.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return key ^ (key >> numpy.uint64(31))


def unit_float(value):
    """Uniform in [0, 1): the top 24 bits, exact in float32. One integer gives a numpy.float32."""
    if isinstance(value, int):
        return numpy.float32(value >> 40) * numpy.float32(2.0**-24)
    return (value >> numpy.uint64(40)).astype(numpy.float32) * numpy.float32(2.0**-24)


def formula_tensor(name, shape, role, seed):
    """A float32 array of `shape`. `role` is one of the constants above; `seed` counts modulo 2^64."""
    count = math.prod(shape)
    start = (hash_name(name) + mix(seed)) & _MASK
    u = unit_float(mix(numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(start)))
    s = numpy.float32(2) * u - numpy.float32(1)
    if role == WEIGHT:
        values = s * numpy.float32(math.sqrt(3 / math.prod(shape[1:])))
    elif role in (NORM_WEIGHT, RUNNING_VARIANCE):
        values = numpy.float32(0.75) + numpy.float32(0.5) * u
    elif role == LAYER_SCALE:
        values = numpy.float32(0.25) + numpy.float32(0.5) * u
    elif role in (GRN_WEIGHT, GRN_BIAS, EMBEDDING):
        values = s * numpy.float32(0.5)
    elif role in (BIAS, NORM_BIAS, RUNNING_MEAN, INPUT):
        values = s * numpy.float32(0.25)
    else:
        raise ValueError(f"no role is called {role!r}")
    assert values.dtype == numpy.float32
    return values.reshape(shape)


def formula_input(name, shape, seed):
    return formula_tensor(name, shape, INPUT, seed)


def formula_picture(width, height, seed):
    """Blocks of 8x8 pixels of one colour with a little noise."""
    k = numpy.uint64(mix(seed))
    y, x, c = numpy.meshgrid(*(numpy.arange(n, dtype=numpy.uint64) for n in (height, width, 3)), indexing="ij")
    block = (y // numpy.uint64(8)) * numpy.uint64(65536) + (x // numpy.uint64(8)) * numpy.uint64(4) + c
    noise = (y * numpy.uint64(width) + x) * numpy.uint64(3) + c
    colour = mix(k + block) >> numpy.uint64(56)
    grain = mix(k + numpy.uint64(1 << 32) + noise) >> numpy.uint64(56)
    return ((numpy.uint64(3) * colour + grain) // numpy.uint64(4)).astype(numpy.uint8)


def role_of(name, shapes):
    """What a tensor of a timm model is for. `shapes`: the shapes of all its tensors by name."""
    if name.endswith(("cls_token", "dist_token", "pos_embed", "relative_position_bias_table")):
        return EMBEDDING
    if name.endswith(".running_mean"):
        return RUNNING_MEAN
    if name.endswith(".running_var"):
        return RUNNING_VARIANCE
    if name.endswith(".gamma"):
        return LAYER_SCALE
    if name.endswith(".mlp.grn.weight"):
        return GRN_WEIGHT
    if name.endswith(".mlp.grn.bias"):
        return GRN_BIAS
    if name.endswith(".weight"):
        return NORM_WEIGHT if len(shapes[name]) == 1 else WEIGHT
    if name.endswith(".bias"):
        return NORM_BIAS if len(shapes[name.removesuffix("bias") + "weight"]) == 1 else BIAS
    raise ValueError(f"{name} is no tensor of a network")


def formula_weights(shapes, seed):
    """Arrays by name for a dictionary of shapes by name."""
    return {name: formula_tensor(name, shape, role_of(name, shapes), seed) for name, shape in shapes.items()}


def fill(model, seed):
    """Gives every parameter of a timm model its value from the formula. Returns the model."""
    import torch  # the formula itself needs none

    # What a batch norm counts batches in is no tensor of ours.
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    values = formula_weights({name: tuple(tensor.shape) for name, tensor in state.items()}, seed)
    filled = {name: torch.from_numpy(value).to(state[name].dtype) for name, value in values.items()}
    model.load_state_dict({**model.state_dict(), **filled})
    return model


# One block of each kind with a stem, a downsample and a head around it: a name and a shape for every role.
_EXAMPLES = {
    "stem.0.weight": (4, 3, 2, 2),
    "stem.0.bias": (4,),
    "stem.1.weight": (4,),
    "stem.1.bias": (4,),
    "stages.0.blocks.0.conv_dw.weight": (4, 1, 7, 7),
    "stages.0.blocks.0.conv_dw.bias": (4,),
    "stages.0.blocks.0.norm.weight": (4,),
    "stages.0.blocks.0.norm.bias": (4,),
    "stages.0.blocks.0.mlp.fc1.weight": (16, 4),
    "stages.0.blocks.0.mlp.fc1.bias": (16,),
    "stages.0.blocks.0.mlp.grn.weight": (16,),
    "stages.0.blocks.0.mlp.grn.bias": (16,),
    "stages.0.blocks.0.mlp.fc2.weight": (4, 16, 1, 1),
    "stages.0.blocks.0.mlp.fc2.bias": (4,),
    "stages.0.blocks.0.gamma": (4,),
    "stages.1.downsample.0.weight": (4,),
    "stages.1.downsample.0.bias": (4,),
    "stages.1.downsample.1.weight": (6, 4, 2, 2),
    "stages.1.downsample.1.bias": (6,),
    "head.norm.weight": (6,),
    "head.norm.bias": (6,),
    "head.fc.weight": (5, 6),
    "head.fc.bias": (5,),
}


def main():
    parser = argparse.ArgumentParser(description="Write tests/goldens/formula.safetensors.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    arguments = parser.parse_args()

    tensors, roles = {}, {}
    for seed in (1, _MASK):
        for name, values in formula_weights(_EXAMPLES, seed).items():
            tensors[f"{seed}/{name}"] = values
            roles[name] = role_of(name, _EXAMPLES)
        tensors[f"{seed}/input"] = formula_input("input", (2, 3, 5, 4), seed)
        roles["input"] = INPUT
        tensors[f"{seed}/picture"] = formula_picture(19, 11, seed)
    write_safetensors(arguments.out / "formula.safetensors", tensors, {"roles": json.dumps(roles, sort_keys=True)})


if __name__ == "__main__":
    main()
