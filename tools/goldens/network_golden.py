"""What all scripts that write outputs of networks have in common: the files, and the proof that they are worth something.

A network that is wrong in one thing and stays within the tests' bounds stops the program: such a golden would prove
nothing.
"""

import argparse
import json
import pathlib
import platform

import numpy
import timm
import torch
import torchvision
from formula import formula_input
from golden_file import rounded, write_json, write_safetensors

SEED = 1
# What the tests allow: relative L2, and the largest difference relative to the largest value.
MAX_RELATIVE_L2 = 5e-6
MAX_RELATIVE_DIFFERENCE = 1e-5


def relative_l2(a, b):
    return numpy.linalg.norm(a - b) / numpy.linalg.norm(b)


def is_told_apart(a, b):
    return relative_l2(a, b) > MAX_RELATIVE_L2 or abs(a - b).max() > MAX_RELATIVE_DIFFERENCE * abs(b).max()


def write_network(path, architecture, overrides, shape, exact, single, wrong):
    """Writes `exact`, outputs by name, and gives back how far from it `single` is and the `wrong` ones are.

    single: the outputs computed in float32; wrong: pairs of what is wrong and the outputs then, some may be missing.
    """
    report = {"float32": {key: rounded(relative_l2(single[key], exact[key])) for key in exact}, "wrong": {}}
    for change, outputs in wrong:
        common = [key for key in exact if key in outputs]
        alike = [key for key in common if outputs[key].shape == exact[key].shape]
        if len(alike) == len(common) and not any(is_told_apart(outputs[key], exact[key]) for key in alike):
            raise SystemExit(f"{path}: with {change} every output stays within the tests' bounds")
        report["wrong"][change] = rounded(max(relative_l2(outputs[key], exact[key]) for key in alike))
    write_safetensors(
        path,
        {key: value.astype(numpy.float32) for key, value in exact.items()},
        {
            "architecture": architecture,
            "overrides": json.dumps(overrides, sort_keys=True),
            "seed": str(SEED),
            "input_shape": json.dumps(shape),
            "torch": torch.__version__,
            "timm": timm.__version__,
        },
    )
    return report


def write_networks(folder, kinds, make):
    """The program: `make(name, kind, path)` for each of the kinds, or of those on the command line.

    Gives back the folder when all were made, with accuracy.json; otherwise None.
    """
    parser = argparse.ArgumentParser(description=f"Write tests/goldens/{folder}/.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    parser.add_argument("kinds", nargs="*", help="only these, and nothing else that the folder holds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    out = arguments.out / folder
    accuracy = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version(), "kinds": {}}
    for name in arguments.kinds or kinds:
        path = out / f"{name}.safetensors"
        report = accuracy["kinds"][name] = make(name, kinds[name], path)
        worst = max(report["float32"].values())
        assert worst < MAX_RELATIVE_L2
        hardest = min(report["wrong"], key=report["wrong"].get)
        shown = f"float32 within {worst:.1e}, hardest to tell: {hardest}, {report['wrong'][hardest]:.1e}"
        print(f"{name:32} {path.stat().st_size:7} bytes, {shown}", flush=True)
    if arguments.kinds:
        return None
    write_json(out / "accuracy.json", accuracy)
    return out


def write_torchvision_network(path, model, architecture, overrides, shapes, values, shape):
    """torchvision's own answer: logits in float64 of a network with `values`, whose tensors have `shapes`."""
    model.load_state_dict({**model.state_dict(), **values})
    with torch.no_grad():
        logits = model.double()(torch.from_numpy(formula_input("input", shape, SEED)).double())
    metadata = {
        "architecture": architecture,
        "overrides": json.dumps(overrides, sort_keys=True),
        "seed": str(SEED),
        "input_shape": json.dumps(shape),
        "shapes": json.dumps(shapes, sort_keys=True),
        "torchvision": torchvision.__version__,
    }
    write_safetensors(path, {"logits": logits.numpy().astype(numpy.float32)}, metadata)
