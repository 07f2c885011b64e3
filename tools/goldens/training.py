"""Gradients, loss curves and the parts of the training method, by PyTorch and timm: tests/goldens/training/.

Conventions, for whoever computes the same. `formula` is src/model/formula.h, `mix`, `hash_name` and `unit_float` are
src/core/hash.h; sums of keys are modulo 2^64.

Networks
    v1         convnext_tiny with depths 1,1,2,1, dims 8,16,24,32, patch size 2, 10 classes (layer scale)
    v2         convnextv2_tiny with the same (global response normalisation)
    isotropic  convnext_isotropic_large with depths 3, dims 24, patch size 8, 10 classes (layer scale)
    Every parameter starts at its formula value for seed 1, layer scale and GRN included.

gradients_<network>.safetensors, computed in float64
    Input formula_input("input", (4, 3, 32, 32), 1), targets (3 i + 1) % 10 for sample i, no drop path. The loss is cross
    entropy with smoothing 0.1: 0.9 * -log p(target) + 0.1 * mean over the classes of -log p, then the mean over the
    batch. One float32 tensor a parameter, under its name, and `loss`, (1,), float64.

curve_<network>.safetensors: the whole method, computed in float32 on one thread
    `mlp.fc2.weight` of the last block but one starts at 1e-4 of its formula value: in that branch gradients are so small
    that the epsilon of AdamW shows.
    Step t of 50 sums the gradients of two batches, m = 0 and 1, u = 2 t + m:
    1. input formula_input("step<u>", (4, 3, 32, 32), 1) * 8, targets mix(hash_name("targets") + 4 u + i) % 10;
    2. mixing, with k = mix(hash_name("mix") + u): kind k % 3 (0 nothing, 1 mixup, 2 CutMix), lambda
       0.1 + 0.8 unit_float(mix(k + 1)), centre of the box (mix(k + 2) % 32, mix(k + 3) % 32) as (y, x): timm's Mixup in
       batch mode, which also smooths the targets by 0.1;
    3. forward with drop path: block j of N (counted through the whole network) has rate r = 0.2 j / (N - 1) in float64;
       sample b keeps its branch iff unit_float(mix(mix(mix(7 + u) + j) + b)) >= r, and a kept branch, after layer
       scale, is multiplied by float32(1 / (1 - r)), a dropped one by 0;
    4. half of the cross entropy with these targets is added to losses[t] and differentiated.
    Then gradient_norms[t] is the norm of all gradients; they are clipped to 0.002, which is below every one of these
    norms; AdamW (betas 0.9 and 0.999, eps 1e-8) steps with learning rate lr[t] and weight decay weight_decay[t], the
    latter on tensors of rank above 1 only; layer decay is 0.7 (layer_decay.py; grouped in v1, single in the others);
    ema = 0.9 ema + 0.1 parameter for every parameter, where ema starts as a copy of the initial parameters.
    lr: warm-up from 0 to 1e-3 in 5 steps, then half a cosine to 1e-6. weight_decay: half a cosine from 0.5 to 0.1.
    `losses`, `gradient_norms` (50,) float32; `lr`, `weight_decay` (50,) float64; `norms` and `ema_norms` (parameters,)
    float64: the L2 norm, summed in float64, of each final parameter, in the order of the names in the metadata's JSON
    list `names`.

sgd_v1.safetensors: 20 steps of torch.optim.SGD, computed in float32 on one thread
    From the formula's values, the batch of u = t, targets as above without mixing, no drop path; cross entropy with
    smoothing 0.1; momentum 0.9, weight decay 1e-4 on everything, no clipping; learning rate 0.02 in steps 0 to 9, a
    tenth of it from step 10. `losses`, `norms` and `names` as above.

schedules.safetensors
    Tables of the authors' cosine_scheduler, float64, one a case; the metadata's JSON object `cases` gives the arguments.
    `average_warmup` (40,): the decay that timm's ModelEmaV3 uses at update 1, 2, ... with decay 0.9 and warm-up.

mix.safetensors
    timm's Mixup in batch mode of formula_input("pictures", (4, 3, 9, 6), 1), targets 3, 1, 4, 1 of 5 classes,
    smoothing 0.1. Draw n: `n.pictures`, `n.targets`, `n.lambda` (1,) float64, corrected, and for CutMix `n.box` (4,)
    int64: top, bottom, left, right. The metadata's JSON list `draws` has kind, lambda, center_y and center_x of each.

layer_decay.json
    Of every ConvNeXt and grouping the layer of the head, and a digest of the layers, learning rate scales (decay 0.8)
    and weight decay of all parameters: the sum of mix(hash_name(line)), line = "<name> <layer> <scale, %.9e> <decay or
    no_decay>". Some are written out.

accuracy.json tells how far float32 is from float64 in each, and how far runs are that are wrong in one thing.
"""

import argparse
import copy
import json
import math
import pathlib
from unittest import mock

import numpy
import timm
import timm.data.mixup
import torch
from formula import fill, formula_input, hash_name, mix, unit_float
from golden_file import rounded, write_json, write_safetensors
from layer_decay import authors_name, decayed, head_layer, layer_of
from models import blocks_of, build
from timm.utils import ModelEmaV3

SEED = 1
DROP_PATH_SEED = 7
CLASSES = 10
STEPS, WARMUP_STEPS, BATCH, BATCHES_A_STEP = 50, 5, 4, 2
SGD_STEPS = 20
MAX_NORM = 0.002
TOLERANCE = 5e-6  # of the tests, relative, in each number

_WIDTHS = dict(depths=[1, 1, 2, 1], dims=[8, 16, 24, 32], patch_size=2, classes=CLASSES)
NETWORKS = {
    "v1": ("convnext_tiny", _WIDTHS),
    "v2": ("convnextv2_tiny", _WIDTHS),
    "isotropic": ("convnext_isotropic_large", dict(depths=[3], dims=[24], patch_size=8, classes=CLASSES)),
}
GROUPINGS = {"v1": "grouped", "v2": "single", "isotropic": "single"}


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
    """timm's DropPath with a mask from a formula in place of torch's generator. Set `batch` before each forward."""

    def __init__(self, block, rate):
        super().__init__()
        self.block, self.rate, self.batch = block, rate, 0

    def forward(self, x):
        drawn = [unit_float(mix(mix(mix(DROP_PATH_SEED + self.batch) + self.block) + b)) for b in range(len(x))]
        scale = [1 / (1 - self.rate) if float(u) >= self.rate else 0.0 for u in drawn]
        return x * torch.tensor(scale, dtype=x.dtype).reshape(-1, 1, 1, 1)


def cosine_scheduler(base, final, epochs, steps_an_epoch, warmup_epochs=0, start=0.0, warmup_steps=-1):
    """The authors' table of values by step (utils.py)."""
    warmup = warmup_steps if warmup_steps > 0 else warmup_epochs * steps_an_epoch
    rest = epochs * steps_an_epoch - warmup
    cosine = [final + 0.5 * (base - final) * (1 + math.cos(math.pi * i / rest)) for i in range(rest)]
    return numpy.concatenate([numpy.linspace(start, base, warmup) if warmup > 0 else [], cosine]).astype(numpy.float64)


def mixup(x, targets, kind, lam, center, classes, smoothing=0.1):
    """timm's Mixup in batch mode for given draws: (pictures, targets, corrected lambda, box or None)."""
    module = timm.data.mixup
    mixing = module.Mixup(0.8, 1.0, mode="batch", label_smoothing=smoothing, num_classes=classes)
    kept = {}

    def target(*arguments, **options):
        kept["lambda"] = arguments[2]
        return original_target(*arguments, **options)

    def box(*arguments, **options):
        kept["box"], lam = original_box(*arguments, **options)
        return kept["box"], lam

    original_target, original_box = module.mixup_target, module.cutmix_bbox_and_lam
    drawn = (1.0 if kind == "none" else lam, kind == "cutmix")
    with (
        mock.patch.object(mixing, "_params_per_batch", lambda: drawn),
        mock.patch.object(numpy.random, "randint", mock.Mock(side_effect=center)),
        mock.patch.object(module, "mixup_target", target),
        mock.patch.object(module, "cutmix_bbox_and_lam", box),
    ):
        pictures, mixed = mixing(x.clone(), targets)
    return pictures, mixed, kept["lambda"], kept.get("box")


def batch_of(u, dtype):
    x = torch.from_numpy(formula_input(f"step{u}", (BATCH, 3, 32, 32), SEED)).to(dtype) * 8
    start = hash_name("targets") + BATCH * u
    return x, torch.tensor([mix(start + i) % CLASSES for i in range(BATCH)])


def mixed_batch(u, dtype, mixing, smoothing):
    x, targets = batch_of(u, dtype)
    k = mix(hash_name("mix") + u)
    kind = ("none", "mixup", "cutmix")[k % 3] if mixing else "none"
    lam = 0.1 + 0.8 * float(unit_float(mix(k + 1)))
    pictures, mixed, _, _ = mixup(x, targets, kind, lam, [mix(k + 2) % 32, mix(k + 3) % 32], CLASSES, smoothing)
    return pictures, mixed.to(dtype)


def norms_of(tensors):
    return numpy.array([numpy.linalg.norm(t.detach().double().numpy().ravel()) for t in tensors])


def curve(
    model,
    dtype,
    grouping,
    decay=0.7,
    rate=0.2,
    smoothing=0.1,
    mixing=True,
    weight_decay=(0.5, 0.1),
    decay_all=False,
    betas=(0.9, 0.999),
    eps=1e-8,
    max_norm=MAX_NORM,
    scaled=True,
    ema_decay=0.9,
    delay=0,
):
    """losses, gradient_norms, norms and ema_norms; settings that differ from these are wrong on purpose."""
    model = copy.deepcopy(model).to(dtype).train()
    blocks = blocks_of(model)
    for j, block in enumerate(blocks):
        block.drop_path = KeyedDropPath(j, rate * j / (len(blocks) - 1))
    with torch.no_grad():
        blocks[-2].mlp.fc2.weight.mul_(1e-4)

    parameters = dict(model.named_parameters())
    depths = [len(stage.blocks) for stage in model.stages]
    groups = {}
    for name, p in parameters.items():
        layer, wd = layer_of(authors_name(name), depths, grouping), decay_all or decayed(name, p.ndim)
        scale = decay ** (head_layer(depths, grouping) - layer)
        group = groups.setdefault((layer, wd), {"params": [], "scale": scale, "decayed": wd, "weight_decay": 0.0})
        group["params"].append(p)
    optimizer = torch.optim.AdamW(list(groups.values()), lr=0.0, betas=betas, eps=eps, foreach=False)
    ema = {name: p.detach().clone() for name, p in parameters.items()}

    lr = cosine_scheduler(1e-3, 1e-6, 1, STEPS, warmup_steps=WARMUP_STEPS)
    wd = cosine_scheduler(*weight_decay, 1, STEPS)
    losses, gradient_norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        losses.append(0.0)
        for u in range(BATCHES_A_STEP * step, BATCHES_A_STEP * (step + 1)):
            x, targets = mixed_batch(u, dtype, mixing, smoothing)
            for block in blocks:
                block.drop_path.batch = u
            loss = torch.sum(-targets * torch.nn.functional.log_softmax(model(x), dim=-1), dim=-1).mean()
            loss = loss / BATCHES_A_STEP if scaled else loss
            losses[-1] += loss.item()
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_norm or math.inf)
        gradient_norms.append(norm.item())
        for group in optimizer.param_groups:
            group["lr"] = lr[max(step - delay, 0)] * group["scale"]
            group["weight_decay"] = wd[step] if group["decayed"] else 0.0
        optimizer.step()
        with torch.no_grad():
            for name, p in parameters.items():
                ema[name].mul_(ema_decay).add_(p, alpha=1 - ema_decay)

    return {
        "losses": numpy.array(losses),
        "gradient_norms": numpy.array(gradient_norms),
        "norms": norms_of(parameters.values()),
        "ema_norms": norms_of(ema.values()),
    }


WRONG = {
    "no drop path": dict(rate=0.0),
    "no smoothing": dict(smoothing=0.0),
    "no mixing": dict(mixing=False),
    "constant weight decay": dict(weight_decay=(0.5, 0.5)),
    "weight decay on everything": dict(decay_all=True),
    "beta2 0.99": dict(betas=(0.9, 0.99)),
    "epsilon 1e-6": dict(eps=1e-6),
    "no clipping": dict(max_norm=None),
    "twice the norm for clipping": dict(max_norm=2 * MAX_NORM),
    "no layer decay": dict(decay=1.0),
    "another grouping": dict(grouping="tiny"),
    "the sum of the batches, not their mean": dict(scaled=False),
    "learning rate a step late": dict(delay=1),
    "EMA decay 0.91": dict(ema_decay=0.91),
}


def sgd_curve(model, dtype):
    model = copy.deepcopy(model).to(dtype).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-4, foreach=False)
    losses = []
    for step in range(SGD_STEPS):
        x, targets = batch_of(step, dtype)
        loss = smoothed_cross_entropy(model(x), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.02 if step < 10 else 0.002
        optimizer.step()
    return {"losses": numpy.array(losses), "norms": norms_of(model.parameters())}


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
    names = json.dumps(list(dict(model.named_parameters())))

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

    right = dict(grouping=GROUPINGS[name])
    found = curve(model, torch.float32, **right)
    assert found["gradient_norms"].min() > 2 * MAX_NORM, "every step must be clipped"
    write_safetensors(
        out / f"curve_{name}.safetensors",
        {
            "losses": found["losses"].astype(numpy.float32),
            "gradient_norms": found["gradient_norms"].astype(numpy.float32),
            "lr": cosine_scheduler(1e-3, 1e-6, 1, STEPS, warmup_steps=WARMUP_STEPS),
            "weight_decay": cosine_scheduler(0.5, 0.1, 1, STEPS),
            "norms": found["norms"],
            "ema_norms": found["ema_norms"],
        },
        {**metadata, "names": names},
    )
    # Largest relative difference over the steps, or over the parameters.
    report["curve"] = {"float64": largest_relative(curve(model, torch.float64, **right), found), "wrong": {}}
    for change, settings in WRONG.items():
        wrong = largest_relative(curve(model, torch.float32, **{**right, **settings}), found)
        if max(wrong.values()) <= 10 * TOLERANCE:
            raise SystemExit(f"{name}: a run with {change} looks like rounding")
        report["curve"]["wrong"][change] = wrong

    if name == "v1":
        found = sgd_curve(model, torch.float32)
        tensors = {"losses": found["losses"].astype(numpy.float32), "norms": found["norms"]}
        write_safetensors(out / "sgd_v1.safetensors", tensors, {**metadata, "names": names})
        report["sgd"] = {"float64": largest_relative(sgd_curve(model, torch.float64), found)}
    return report


SCHEDULES = {
    "warmup": dict(base=4e-3, final=1e-6, epochs=10, steps_an_epoch=4, warmup_epochs=2),
    "no warmup": dict(base=5e-5, final=1e-6, epochs=3, steps_an_epoch=7),
    "all warmup": dict(base=4e-3, final=1e-6, epochs=2, steps_an_epoch=5, warmup_epochs=2),
    "one step of warmup": dict(base=1e-3, final=0.0, epochs=1, steps_an_epoch=9, warmup_steps=1),
    "warmup from above zero": dict(base=1e-3, final=1e-5, epochs=5, steps_an_epoch=6, start=1e-6, warmup_steps=13),
    # 1,050 pictures in batches of 32, four of which make a step.
    "accumulation": dict(base=4e-3, final=1e-6, epochs=6, steps_an_epoch=1050 // (32 * 4), warmup_epochs=1),
    "weight decay": dict(base=0.05, final=0.2, epochs=4, steps_an_epoch=10),
}


def make_schedules(out):
    tables = {name: cosine_scheduler(**arguments) for name, arguments in SCHEDULES.items()}
    average = ModelEmaV3(torch.nn.Linear(1, 1), decay=0.9, use_warmup=True)
    # timm counts the updates before the one that it asks for.
    tables["average_warmup"] = numpy.array([average.get_decay(step) for step in range(1, 41)])
    write_safetensors(out / "schedules.safetensors", tables, {"cases": json.dumps(SCHEDULES), "timm": timm.__version__})


DRAWS = [
    dict(kind="none", lam=1.0),
    dict(kind="mixup", lam=0.3),
    dict(kind="mixup", lam=0.8125),
    dict(kind="cutmix", lam=0.6, center=(4, 3)),  # 5 rows, 3 columns
    dict(kind="cutmix", lam=0.5, center=(0, 5)),  # cut by the top and by the right
    dict(kind="cutmix", lam=0.25, center=(8, 0)),  # cut by the bottom and by the left
    dict(kind="cutmix", lam=0.999, center=(4, 3)),  # nothing
]


def make_mix(out):
    x = torch.from_numpy(formula_input("pictures", (4, 3, 9, 6), SEED))
    tensors, draws = {}, []
    for n, draw in enumerate(DRAWS):
        center = draw.get("center", (0, 0))
        pictures, targets, lam, box = mixup(x, torch.tensor([3, 1, 4, 1]), draw["kind"], draw["lam"], center, 5)
        tensors |= {f"{n}.pictures": pictures.numpy(), f"{n}.targets": targets.numpy(), f"{n}.lambda": numpy.array([lam])}
        if box is not None:
            tensors[f"{n}.box"] = numpy.array(box, dtype=numpy.int64)
        draws.append(dict(kind=draw["kind"], **{"lambda": draw["lam"]}, center_y=center[0], center_x=center[1]))
    write_safetensors(out / "mix.safetensors", tensors, {"draws": json.dumps(draws), "timm": timm.__version__})


ISOTROPIC = {
    "convnext_isotropic_small": ("convnext_isotropic_small", {}),
    "convnext_isotropic_base": ("convnext_isotropic_small", dict(depths=[18], dims=[768])),
    "convnext_isotropic_large": ("convnext_isotropic_large", {}),
}
# One tensor a layer of these is written out.
WRITTEN_OUT = [
    ("convnext_small", "grouped"),
    ("convnext_tiny", "tiny"),
    ("convnextv2_atto", "single"),
    ("convnext_isotropic_small", "grouped"),
    ("convnext_xxlarge", "grouped"),
]


def decay_line(name, rank, depths, grouping, decay):
    layer = layer_of(authors_name(name), depths, grouping)
    scale = decay ** (head_layer(depths, grouping) - layer)
    return f"{name} {layer} {scale:.9e} {'decay' if decayed(name, rank) else 'no_decay'}"


def make_layer_decay(out, decay=0.8):
    names = [name for pattern in ("convnext*", "test_convnext*") for name in timm.list_models(pattern)]
    names += [f"dinov3_convnext_{size}" for size in ("tiny", "small", "base", "large")] + list(ISOTROPIC)
    networks, written_out = {}, {}
    for name in sorted(set(names)):
        with torch.device("meta"):
            model = build(*ISOTROPIC.get(name, (name, {})))
        depths = tuple(len(stage.blocks) for stage in model.stages)
        networks[name] = {}
        for grouping in ("single", "grouped", "tiny"):
            ranks = {key: p.ndim for key, p in model.named_parameters()}
            lines = [decay_line(key, rank, depths, grouping, decay) for key, rank in ranks.items()]
            digest = sum(mix(hash_name(line)) for line in lines) % 2**64
            networks[name][grouping] = {"head": head_layer(depths, grouping), "digest": f"{digest:016x}"}
            if (name, grouping) in WRITTEN_OUT:
                kept = ("conv_dw.weight", "downsample.1.weight", "stem.0.weight", "head.fc.weight")
                written_out[f"{name} {grouping}"] = [line for line in lines if line.split()[0].endswith(kept)]
    write_json(out / "layer_decay.json", {"decay": decay, "networks": networks, "written_out": written_out})


def main():
    parser = argparse.ArgumentParser(description="Write tests/goldens/training/.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    out = arguments.out / "training"
    make_schedules(out)
    make_mix(out)
    make_layer_decay(out)
    accuracy = {"torch": torch.__version__, "timm": timm.__version__, "networks": {}}
    for name in NETWORKS:
        accuracy["networks"][name] = make(name, out)
        print(name, json.dumps(accuracy["networks"][name], indent=2), flush=True)
    write_json(out / "accuracy.json", accuracy)


if __name__ == "__main__":
    main()
