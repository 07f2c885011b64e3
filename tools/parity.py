"""One model, some pictures, step by step: this project's programs against timm or transformers.

    build/goldens/bin/python tools/parity.py MODEL PICTURE... [--architecture NAME] [--limit N]

MODEL is a file of ours (its card says the network), a folder as timm or Hugging Face lay it out (with a config.json), or
a bare file with the names of timm, of the authors or of torchvision: its network is that of --architecture, or the one
that `convnext inspect` finds, and so is how pictures are prepared. PICTURES are files, or folders that are searched.

    decode      the stored picture                                  Image.open(...).convert("RGB")
    resize      resized and cropped, 8 bits
    normalize   the floats that the network is given
    stage 0...  the output of each stage, before any norm
    logits      or pooled features, where there is no classifier

Each network step gets the reference's own floats, so that one difference is not counted again below. Up to `normalize`
every value must be equal; in the network ‖a - b‖₂ / ‖b‖₂ and max|a - b| / max|b| must be at most 1e-5 (float32's own
noise is about 1e-6). The exit code is 0 when all steps agree and 1 otherwise; the first step that differs is named.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import safetensors.torch
import timm
import timm.data
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "goldens"))
import pictures  # noqa: E402
from models import build, run  # noqa: E402

CARD = "convnext_card_v1"
LARGEST_ERROR = 1e-5
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
BATCH = 8


class ComposedTransform:
    """A transform whose last two steps are the conversion to floats and the normalisation."""

    def __init__(self, compose):
        self.pixel_steps, self.all_steps = compose.transforms[:-2], compose.transforms

    def pixels(self, image):
        for step in self.pixel_steps:
            image = step(image)
        if isinstance(image, torch.Tensor):
            return image.permute(1, 2, 0).numpy()
        return numpy.asarray(image)

    def floats(self, image):
        for step in self.all_steps:
            image = step(image)
        return image.numpy()


class ProcessorTransform:
    """An image processor of transformers."""

    def __init__(self, processor):
        self.processor = processor

    def call(self, image, **options):
        return self.processor(image, return_tensors="pt", **options)["pixel_values"][0]

    def pixels(self, image):
        if type(self.processor).__name__.startswith("DINOv3"):
            return None  # it resizes floats, unless it is told not to scale
        return self.call(image, do_rescale=False, do_normalize=False).permute(1, 2, 0).numpy()

    def floats(self, image):
        return self.call(image).numpy()


TRANSFORMS = {
    "timm": lambda *settings: ComposedTransform(pictures.timm_transform(*settings)),
    "torchvision": lambda *settings: ComposedTransform(pictures.torchvision_transform(*settings)),
    "transformers": lambda *settings: ProcessorTransform(pictures.transformers_processor(*settings)),
    "dinov3": lambda *settings: ProcessorTransform(pictures.dinov3_processor(*settings)),
}


def transform_of(settings):
    make_transform = TRANSFORMS[settings.get("pipeline", "timm")]
    statistics = {"mean": settings["mean"], "std": settings["std"]}
    return make_transform(
        settings["resolution"], settings["crop_fraction"], settings["crop_mode"], settings["interpolation"], statistics
    )


def of_card(card, state):
    """A file of ours: timm's names, and the settings in its metadata."""
    model = build(card["architecture"], card.get("network", {}))
    model.load_state_dict(state)
    return "timm, built as the card says", model, run, transform_of(card["preprocessing"])


def timm_transform(pretrained_cfg):
    config = timm.data.resolve_data_config(pretrained_cfg=pretrained_cfg)
    return ComposedTransform(timm.data.create_transform(**config, is_training=False))


def of_torchvision(card, state):
    import torchvision

    model = torchvision.models.get_model(card["architecture"], num_classes=state["classifier.2.weight"].shape[0]).eval()
    model.load_state_dict(state)

    def run_it(model, x):
        named = {}
        with torch.no_grad():
            for i, part in enumerate(model.features):
                x = part(x)
                if i % 2 == 1:  # between them are the stem and the downsampling layers
                    named[f"stages.{i // 2}"] = x
            named["logits"] = model.classifier(model.avgpool(x))
        return {name: tensor.double().numpy() for name, tensor in named.items()}

    return f"torchvision's {card['architecture']}", model, run_it, transform_of(card["preprocessing"])


def of_transformers(folder, program):
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    classifies = any("ForImageClassification" in name for name in config.architectures or [])
    kind = transformers.AutoModelForImageClassification if classifies else transformers.AutoModel
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()

    def run_it(model, x):
        with torch.no_grad():
            outputs = model(x, output_hidden_states=True)
        named = {f"stages.{i}": stage for i, stage in enumerate(outputs.hidden_states[-4:])}
        named["logits" if classifies else "pooled"] = outputs.logits if classifies else outputs.pooler_output
        return {name: tensor.double().numpy() for name, tensor in named.items()}

    if (folder / "preprocessor_config.json").exists():
        transform = ProcessorTransform(transformers.AutoImageProcessor.from_pretrained(folder))
    else:
        transform = transform_of(inspected(program, folder, "")["card"]["preprocessing"])
    return f"transformers' {type(model).__name__}", model, run_it, transform


def is_safetensors(path):
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_state(path):
    if is_safetensors(path):
        return safetensors.torch.load_file(path)
    return timm.models.load_state_dict(str(path), use_ema=True)


def inspected(program, path, architecture):
    """What our program finds in it."""
    options = ["--architecture", architecture] if architecture else []
    done = subprocess.run([str(program), "inspect", str(path), "--json", *options], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"parity: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


def reference_for(path, architecture, program):
    """What it is, the model, how to run it, and its transform."""
    if not path.exists():
        raise SystemExit(f"parity: there is no '{path}'")
    if path.is_dir() and (path / "config.json").exists():
        config = json.loads((path / "config.json").read_text())
        if "model_type" in config:
            return of_transformers(path, program)
        model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
        return f"timm's {config['architecture']}", model, run, timm_transform(model.pretrained_cfg)
    if path.is_dir():
        path = path / "model.safetensors"
    if is_safetensors(path):
        with safetensors.torch.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if CARD in metadata:
            return of_card(json.loads(metadata[CARD]), {k: v.float() for k, v in read_state(path).items()})
    found = inspected(program, path, architecture)
    card = found["card"]
    state = {name: value.float() for name, value in read_state(path).items()}
    if found["layout"] == "torchvision":
        return of_torchvision(card, state)
    classes = next((value.shape[0] for name, value in state.items() if name in ("head.fc.weight", "head.weight")), 0)
    model = timm.create_model(card["architecture"], num_classes=classes).eval()
    model.load_state_dict(timm.models.convnext.checkpoint_filter_fn(state, model))
    return f"timm's {card['architecture']}", model, run, transform_of(card["preprocessing"])


class Comparison:
    """The worst case of each step, in the order in which steps are first seen."""

    def __init__(self):
        self.steps = {}
        self.first = None  # (step, picture, what)

    def add(self, step, picture, what, agrees, figure):
        seen = self.steps.setdefault(step, {"pictures": 0, "equal": 0, "figure": -1.0, "what": ""})
        seen["pictures"] += 1
        seen["equal"] += agrees
        if figure > seen["figure"]:
            seen.update(figure=figure, what=f"{what} ({picture.name})")
        order = list(self.steps)
        if not agrees and (self.first is None or order.index(step) < order.index(self.first[0])):
            self.first = (step, picture, what)

    def equal(self, step, picture, ours, theirs):
        if ours.shape != theirs.shape:
            self.add(step, picture, f"{ours.shape}, the reference's is {theirs.shape}", False, numpy.inf)
            return
        # Bits, not values: a zero may have a sign, and NaN must not pass.
        differ = numpy.count_nonzero(ours.view(numpy.uint8) != theirs.view(numpy.uint8))
        if differ == 0:
            self.add(step, picture, "equal to the bit", True, 0.0)
            return
        distance = numpy.abs(ours.astype(numpy.float64) - theirs.astype(numpy.float64))
        what = f"{numpy.count_nonzero(distance)} of {ours.size} values differ, by at most {distance.max():.3g}"
        self.add(step, picture, what, False, float(distance.max()))

    def close(self, step, picture, ours, theirs):
        if ours.shape != theirs.shape:
            self.add(step, picture, f"{ours.shape}, the reference's is {theirs.shape}", False, numpy.inf)
            return
        distance = ours.astype(numpy.float64) - theirs
        error = numpy.linalg.norm(distance) / numpy.linalg.norm(theirs)
        largest = numpy.abs(distance).max() / numpy.abs(theirs).max()
        agrees = bool(error <= LARGEST_ERROR and largest <= LARGEST_ERROR)
        what = f"relative error {error:.2g}, largest {largest:.2g}"
        self.add(step, picture, what, agrees, float(error) if numpy.isfinite(error) else numpy.inf)

    def report(self):
        for step, seen in self.steps.items():
            verdict = "agrees" if seen["equal"] == seen["pictures"] else "DIFFERS"
            print(f"{step:10} {verdict:8} {seen['equal']:4} of {seen['pictures']:<4}  worst: {seen['what']}")
        if self.first is None:
            print("every step agrees")
            return 0
        step, picture, what = self.first
        print(f"the first step that differs is {step}, on {picture}: {what}")
        return 1


def convnext(program, *arguments):
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"parity: {program} {arguments[0]} failed: {done.stderr.strip()}")


def pictures_in(places, limit):
    found = []
    for place in map(pathlib.Path, places):
        inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in PICTURES)
        found += inside if place.is_dir() else [place]
    if not found:
        raise SystemExit("parity: no pictures there")
    return found[:limit] if limit else found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--architecture", default="", help="registered name of the network, for weights without a card")
    parser.add_argument("--limit", type=int, default=0, help="pictures at most (default: all)")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release/bin/convnext")
    options = parser.parse_args()
    files = pictures_in(options.pictures, options.limit)
    try:
        name, model, run_reference, transform = reference_for(options.model, options.architecture, options.program)
    except RuntimeError as error:
        raise SystemExit(
            f"parity: no reference loads '{options.model}' (a file of Hugging Face's: name its folder): "
            f"{str(error).splitlines()[0]}"
        ) from None
    print(f"{options.model} against {name}, {len(files)} pictures")
    model_options = ["--model", options.model]
    if options.architecture:
        model_options += ["--architecture", options.architecture]

    comparison = Comparison()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            floats = []
            for picture in batch:
                decoded, resized, normalized = (folder / f"{step}.npy" for step in ("decoded", "resized", "floats"))
                image = Image.open(picture).convert("RGB")
                pixels = transform.pixels(image)
                convnext(options.program, "preprocess", picture, *model_options, "--decoded", decoded,
                         *(["--resized", resized] if pixels is not None else []), "--output", normalized)
                comparison.equal("decode", picture, numpy.load(decoded), numpy.asarray(image))
                if pixels is not None:
                    comparison.equal("resize", picture, numpy.load(resized), pixels)
                floats.append(transform.floats(image))
                comparison.equal("normalize", picture, numpy.load(normalized)[0], floats[-1])
            x = numpy.stack(floats)
            numpy.save(folder / "x.npy", x)
            convnext(options.program, "run", *model_options, "--input", folder / "x.npy", "--output", folder / "y.npy",
                     "--features", folder / "y")
            expected = run_reference(model, torch.from_numpy(x))
            last = "logits" if "logits" in expected else "pooled"
            stages = sorted(name for name in expected if name.startswith("stages."))
            for i, stage in enumerate(stages):
                ours = numpy.load(folder / f"y.stage{i}.npy")
                for row, picture in enumerate(batch):
                    comparison.close(f"stage {i}", picture, ours[row], expected[stage][row])
            ours = numpy.load(folder / "y.npy")
            for row, picture in enumerate(batch):
                comparison.close(last, picture, ours[row], expected[last][row])
    return comparison.report()


if __name__ == "__main__":
    sys.exit(main())
