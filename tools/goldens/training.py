"""Gradients and loss curves of timm models: tests/goldens/training/.

Conventions, for whoever computes the same. `formula` is src/model/formula.h, `mix`, `hash_name` and `unit_float` are
src/core/hash.h; sums of keys are modulo 2^64.

Networks
    v1         convnext_tiny with depths 1,1,2,1, dims 8,16,24,32, patch size 2, 10 classes (layer scale)
    v2         convnextv2_tiny with the same (global response normalisation)
    isotropic  convnext_isotropic_large with depths 3, dims 24, patch size 8, 10 classes (layer scale)
    Every parameter starts at its formula value for seed 1, layer scale and GRN included.

Loss
    Cross entropy with smoothing 0.1: 0.9 * -log p(target) + 0.1 * mean over the classes of -log p, then the mean over
    the batch.

gradients_<network>.safetensors, computed in float64
    Input formula_input("input", (4, 3, 32, 32), 1), targets (3 i + 1) % 10 for sample i, no drop path.
    One float32 tensor a parameter, under its name, and `loss`, (1,), float64.

curve_<network>.safetensors, computed in float32 on one thread
    Step t of 20:
    1. input formula_input("step<t>", (8, 3, 32, 32), 1) * 8, targets mix(hash_name("targets") + 8 t + i) % 10;
    2. forward with drop path: block j of N (counted through the whole network) has rate r = 0.2 j / (N - 1) in float64;
       sample b keeps its branch iff unit_float(mix(mix(mix(7 + t) + j) + b)) >= r, and a kept branch, after layer
       scale, is multiplied by float32(1 / (1 - r)), a dropped one by 0;
    3. losses[t] is this loss; backward; no clipping;
    4. AdamW (betas 0.9 and 0.999, eps 1e-8) with learning rate lr[t]; weight decay 0.05 on tensors of rank above 1,
       0 on all others: biases, norms, layer scale, GRN;
    5. ema = 0.9 ema + 0.1 parameter for every parameter; ema starts as a copy of the initial parameters.
    lr: linspace(0, 1e-3, 5), then 1e-6 + 0.5 (1e-3 - 1e-6)(1 + cos(pi i / 15)) for i = 0..14. So lr[0] is 0, lr[4] and
    lr[5] are 1e-3.
    `losses` (20,) float32; `lr` (20,) float64; `norms` and `ema_norms` (parameters,) float64: the L2 norm, summed in
    float64, of each final parameter, in the order of the names in the metadata's JSON list `names`.

accuracy.json tells how far float32 is from float64 in each, and how far runs are that are wrong in one thing.
"""

import argparse
import copy
import json
import math
import pathlib

import numpy
import timm
import torch
from formula import fill, formula_input, hash_name, mix, unit_float
from golden_file import rounded, write_json, write_safetensors
from models import blocks_of, build

SEED = 1
DROP_PATH_SEED = 7
CLASSES = 10
STEPS, WARMUP_STEPS, BATCH = 20, 5, 8

_WIDTHS = dict(depths=[1, 1, 2, 1], dims=[8, 16, 24, 32], patch_size=2, classes=CLASSES)
NETWORKS = {
    "v1": ("convnext_tiny", _WIDTHS),
    "v2": ("convnextv2_tiny", _WIDTHS),
    "isotropic": ("convnext_isotropic_large", dict(depths=[3], dims=[24], patch_size=8, classes=CLASSES)),
}


def smoothed_cross_entropy(logits, targets, smoothing=0.1):
    return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def gradients(model, dtype):
    """(loss, arrays by parameter name)."""
    model = copy.deepcopy(model).to(dtype)
    x = torch.from_numpy(formula_input("input", (4, 3, 32, 32), SEED)).to(dtype)
    targets = torch.tensor([(3 * i + 1) % CLASSES for i in range(len(x))])
    loss = smoothed_cross_entropy(model(x), targets)
    loss.backward()
    return loss.item(), {name: p.grad.double().numpy() for name, p in model.named_parameters()}


class KeyedDropPath(torch.nn.Module):
    """timm's DropPath with a mask from a formula in place of torch's generator. Set `step` before each forward."""

    def __init__(self, block, rate):
        super().__init__()
        self.block, self.rate, self.step = block, rate, 0

    def forward(self, x):
        drawn = [unit_float(mix(mix(mix(DROP_PATH_SEED + self.step) + self.block) + b)) for b in range(len(x))]
        scale = [1 / (1 - self.rate) if float(u) >= self.rate else 0.0 for u in drawn]
        return x * torch.tensor(scale, dtype=x.dtype).reshape(-1, 1, 1, 1)


def learning_rates(base=1e-3, minimum=1e-6):
    warmup = numpy.linspace(0, base, WARMUP_STEPS)
    rest = STEPS - WARMUP_STEPS
    cosine = [minimum + 0.5 * (base - minimum) * (1 + math.cos(math.pi * i / rest)) for i in range(rest)]
    return numpy.concatenate([warmup, cosine])


def targets_of(step):
    start = hash_name("targets") + BATCH * step
    return torch.tensor([mix(start + i) % CLASSES for i in range(BATCH)])


def curve(model, dtype, rate=0.2, smoothing=0.1, decay=0.05, decay_all=False, ema_decay=0.9, delay=0):
    """losses, norms and ema_norms; the settings after `dtype` are for runs that are wrong on purpose."""
    model = copy.deepcopy(model).to(dtype).train()
    blocks = blocks_of(model)
    for j, block in enumerate(blocks):
        block.drop_path = KeyedDropPath(j, rate * j / (len(blocks) - 1))

    parameters = dict(model.named_parameters())
    ema = {name: p.detach().clone() for name, p in parameters.items()}
    decayed = [p for p in parameters.values() if p.ndim > 1 or decay_all]
    others = [p for p in parameters.values() if not (p.ndim > 1 or decay_all)]
    groups = [{"params": decayed, "weight_decay": decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8, foreach=False)

    lr, losses = learning_rates(), []
    for step in range(STEPS):
        x = torch.from_numpy(formula_input(f"step{step}", (BATCH, 3, 32, 32), SEED)).to(dtype) * 8
        for block in blocks:
            block.drop_path.step = step
        loss = smoothed_cross_entropy(model(x), targets_of(step), smoothing)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr[max(step - delay, 0)]
        optimizer.step()
        with torch.no_grad():
            for name, p in parameters.items():
                ema[name].mul_(ema_decay).add_(p, alpha=1 - ema_decay)

    def norms(tensors):
        return numpy.array([numpy.linalg.norm(t.detach().double().numpy().ravel()) for t in tensors])

    return {"losses": numpy.array(losses), "norms": norms(parameters.values()), "ema_norms": norms(ema.values())}


WRONG = {
    "no drop path": dict(rate=0.0),
    "no smoothing": dict(smoothing=0.0),
    "no weight decay": dict(decay=0.0),
    "weight decay on everything": dict(decay_all=True),
    "learning rate a step late": dict(delay=1),
    "EMA decay 0.91": dict(ema_decay=0.91),
}


def largest_relative(a, b):
    return {key: rounded((abs(a[key] - b[key]) / abs(b[key])).max()) for key in b}


def make(name, out):
    architecture, overrides = NETWORKS[name]
    model = fill(build(architecture, overrides), SEED)
    metadata = {
        "architecture": architecture,
        "overrides": json.dumps(overrides, sort_keys=True),
        "seed": str(SEED),
        "torch": torch.__version__,
        "timm": timm.__version__,
    }

    loss, exact = gradients(model, torch.float64)
    single_loss, single = gradients(model, torch.float32)
    tensors = {key: value.astype(numpy.float32) for key, value in exact.items()}
    write_safetensors(out / f"gradients_{name}.safetensors", {**tensors, "loss": numpy.array([loss])}, metadata)
    apart = {key: numpy.linalg.norm(single[key] - exact[key]) / numpy.linalg.norm(exact[key]) for key in exact}
    worst = max(apart, key=apart.get)
    report = {
        "gradients": {
            "loss": rounded(abs(single_loss - loss) / loss),
            "largest relative L2 of a gradient": rounded(apart[worst]),
            "of": worst,
        },
    }

    found = curve(model, torch.float32)
    names = list(dict(model.named_parameters()))
    write_safetensors(
        out / f"curve_{name}.safetensors",
        {
            "losses": found["losses"].astype(numpy.float32),
            "lr": learning_rates(),
            "norms": found["norms"],
            "ema_norms": found["ema_norms"],
        },
        {**metadata, "names": json.dumps(names)},
    )
    # Largest relative difference over the steps, or over the parameters.
    report["curve"] = {"float64": largest_relative(curve(model, torch.float64), found), "wrong": {}}
    for change, settings in WRONG.items():
        wrong = largest_relative(curve(model, torch.float32, **settings), found)
        if all(wrong[key] <= 10 * report["curve"]["float64"][key] for key in wrong):
            raise SystemExit(f"{name}: a run with {change} looks like rounding")
        report["curve"]["wrong"][change] = wrong
    return report


def main():
    parser = argparse.ArgumentParser(description="Write tests/goldens/training/.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    out = arguments.out / "training"
    accuracy = {"torch": torch.__version__, "timm": timm.__version__, "networks": {}}
    for name in NETWORKS:
        accuracy["networks"][name] = make(name, out)
        print(name, json.dumps(accuracy["networks"][name], indent=2), flush=True)
    write_json(out / "accuracy.json", accuracy)


if __name__ == "__main__":
    main()
