"""What Pillow, timm and torchvision make of training pictures: python tools/goldens/augmentation.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/augmentation), for tests/pixel_operations_test.cc and
tests/augmentation_test.cc:

    operations.safetensors  single operations of Pillow with given arguments
    policies.json           what timm reads from the notation of RandAugment, and its argument at each magnitude
    rand_augment.safetensors  timm's AugmentOp at given magnitudes
    pipeline.safetensors    timm's transforms_imagenet_train up to the tensor
    erasing.safetensors     timm's RandomErasing
    versions.json           of what made the files

Each .safetensors file holds its pictures as "source.NAME" (height, width, 3), one tensor a case named by its number, and
in the metadata under "cases" a list of what each case is.

timm draws from Python's, NumPy's and torch's generators. Here those calls are answered from KeyedRandom, the generator
of src/train/random.h, in the order in which timm makes them: with equal draws the pictures must be equal.
"""

import contextlib
import json
import math
import pathlib
import sys
import types
from unittest import mock

import numpy
import PIL
import timm
import timm.data.auto_augment
import timm.data.random_erasing
import timm.data.transforms
import torch
import torchvision
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_train

from formula import hash_name, mix
from golden_file import write_json, write_safetensors
from pictures import noise, scene

FILL = (124, 116, 104)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}


class KeyedRandom:
    """src/train/random.h, with the methods of Python's random module that timm calls."""

    def __init__(self, *key):
        self.key = 0
        for part in key:
            self.key = mix(self.key + part)
        self.counter = 0

    def next(self):
        self.counter += 1
        return mix(self.key + self.counter - 1)

    def random(self):
        return (self.next() >> 11) * 2.0**-53

    def uniform(self, low, high):
        return low + (high - low) * self.random()

    def below(self, count):
        return ((self.next() >> 32) * count) >> 32

    def randint(self, low, high):
        return low + self.below(high - low + 1)

    def choice(self, values):
        return values[self.below(len(values))]

    def gauss(self, mean=0.0, deviation=1.0):
        radius = math.sqrt(-2.0 * math.log1p(-self.random()))
        return mean + deviation * (radius * math.cos(2.0 * math.pi * self.random()))

    def jitter(self, brightness, contrast, saturation, hue):
        """ColorJitter.get_params. The order of three of torch's four is uniform, as this is."""
        factors = [self.uniform(*brightness), self.uniform(*contrast), self.uniform(*saturation)]
        order = [0, 1, 2]
        for i in (3, 2):
            j = self.below(i)
            order[i - 1], order[j] = order[j], order[i - 1]
        return order, *factors, None


@contextlib.contextmanager
def drawing_from(random, flips=None):
    """timm and torchvision draw from `random`, mirroring from `flips`."""
    choices = types.SimpleNamespace(choice=lambda values, count, replace, p: [random.choice(values) for _ in range(count)])
    with contextlib.ExitStack() as patches:
        for module in (timm.data.transforms, timm.data.auto_augment, timm.data.random_erasing):
            patches.enter_context(mock.patch.object(module, "random", random))
        patches.enter_context(mock.patch.object(timm.data.auto_augment, "np", types.SimpleNamespace(random=choices)))
        patches.enter_context(mock.patch.object(torchvision.transforms.ColorJitter, "get_params", random.jitter))
        if flips is not None:
            patches.enter_context(mock.patch.object(torch, "rand", lambda _: flips.random()))
        yield


def sources():
    return {
        "scene": scene(17, 13),
        "dull": (scene(24, 24, 3) // 3 + 60).astype(numpy.uint8),
        "noise": noise(17, 16, 8),
        "flat": numpy.full((4, 6, 3), (7, 130, 255), numpy.uint8),
        "one": scene(1, 1),
        "row": scene(9, 1),
        "column": scene(1, 9),
        "narrow": noise(2, 5, 2),
        "three": noise(3, 3, 4),
    }


class Cases:
    """The cases of one file, each with what it is and what came out."""

    def __init__(self, pictures):
        self.tensors = {f"source.{name}": picture for name, picture in pictures.items()}
        self.described = []

    def add(self, output, **description):
        self.tensors[str(len(self.described))] = numpy.asarray(output)
        self.described.append(description)

    def write(self, path):
        write_safetensors(path, self.tensors, {"cases": json.dumps(self.described)})


def write_operations(path):
    augment = timm.data.auto_augment
    levels = {
        "auto_contrast": [None],
        "equalize": [None],
        "invert": [None],
        "posterize": [1, 2, 7, 8, 4],
        "solarize": [0, 37, 256, 128],
        "solarize_add": [0, 46, 110],
        "color": [0.0, 0.1, 0.55, 1.0, 1.9],
        "contrast": [0.0, 0.1, 0.55, 1.0, 1.9],
        "brightness": [0.0, 0.1, 0.55, 1.0, 1.9],
        "sharpness": [0.0, 0.1, 0.55, 1.0, 1.9],
    }
    moves = {
        "rotate": [-29.3, 7.77, 90.0],
        "shear_x": [-0.27, 0.13],
        "shear_y": [-0.27, 0.13],
        "translate_x_abs": [-7.0, 2.6],
        "translate_y_abs": [-3.4, 5.0],
    }
    pictures = sources()
    cases = Cases(pictures)
    for source, picture in pictures.items():
        image = Image.fromarray(picture)
        for name, arguments in levels.items():
            for argument in arguments if source == "scene" else arguments[-1:]:
                output = getattr(augment, name)(image, *([] if argument is None else [argument]))
                cases.add(output, source=source, operation=name, argument=argument)
        cases.add(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), source=source, operation="flip", argument=None)
        for name, arguments in moves.items():
            if source in ("dull", "noise"):
                continue  # larger ones, for the operations above: moves look at no more than a few pixels at a time
            for argument in arguments if source == "scene" else arguments[-1:]:
                for filter in ("nearest", "bilinear", "bicubic"):
                    output = getattr(augment, name)(image, argument, fillcolor=FILL, resample=FILTERS[filter])
                    cases.add(output, source=source, operation=name, argument=argument, filter=filter)

    # All three ways to the nearest pixel (scaled, fixed point, too far away for fixed point), with coordinates that fall
    # between two pixels where each rounds in its own way; and both smooth filters.
    scene_image = Image.fromarray(pictures["scene"])
    for filter, matrix in (
        ("nearest", (0.7, 0, -1.3, 0, -1.4, 12.2)),
        ("nearest", (0.3, 0, -0.15, 0, 0.7, -0.35)),
        ("nearest", (1.3, 0.4, -2.1, -0.2, 0.9, 3.3)),
        ("nearest", (2 / 3, 1 / 3, -1 / 6, -1 / 3, 2 / 3, 5)),
        ("nearest", (6000, 2 / 3, -50998, 1 / 3, 2 / 3, 0)),
        ("bilinear", (0.61, -0.3, 2.2, 0.17, 1.21, -2.4)),
        ("bicubic", (0.61, -0.3, 2.2, 0.17, 1.21, -2.4)),
    ):
        output = scene_image.transform(
            scene_image.size, Image.Transform.AFFINE, matrix, resample=FILTERS[filter], fillcolor=FILL)
        cases.add(output, source="scene", operation="affine", argument=None, matrix=matrix, filter=filter)

    # left, top, width, height of the crop; width, height of what is made of it
    for filter in ("bilinear", "bicubic", "lanczos"):
        for region, size in (((3, 2, 13, 10), (8, 8)), ((0, 5, 6, 8), (11, 10)), ((16, 12, 1, 1), (3, 4)),
                             ((0, 0, 17, 13), (11, 9)), ((4, 4, 8, 8), (8, 8))):
            output = torchvision.transforms.functional.resized_crop(
                scene_image, region[1], region[0], region[3], region[2], size[::-1],
                timm.data.transforms.str_to_interp_mode(filter))
            cases.add(output, source="scene", operation="resized_crop", argument=None, region=region, filter=filter)
    cases.write(path)


def write_policies(path):
    augment = timm.data.auto_augment
    policies = {}
    for text in ("rand", "rand-m9-mstd0.5-inc1", "rand-m9-mstd0.5", "rand-m7-n3", "rand-n1-p0.25-inc1", "rand-inc0-m3",
                 "rand-m15-mmax20-mstd1.5-inc1", "rand-m8-mstd101-inc1", "rand-mstd100-m4", "rand-m0-p1-mstd0",
                 "rand-mmax4-n4-m12-p0.125-inc1-mstd2"):
        policy = augment.rand_augment_transform(text, {"img_mean": FILL})
        first = policy.ops[0]
        policies[text] = {
            "operations": policy.num_layers,
            "probability": first.prob,
            "magnitude": first.magnitude,
            "magnitude_deviation": "infinity" if math.isinf(first.magnitude_std) else first.magnitude_std,
            "max_magnitude": first.magnitude_max or 10,
            "names": [operation.name for operation in policy.ops],
        }

    arguments = []
    for increasing, names in ((False, augment._RAND_TRANSFORMS), (True, augment._RAND_INCREASING_TRANSFORMS)):
        for kind, name in enumerate(names):
            for magnitude in (0.0, 0.37, 2.5, 8.91, 9.43, 10.0, 12.5):
                for backwards in (False, True):
                    sign = types.SimpleNamespace(random=lambda: 0.75 if backwards else 0.25)
                    with mock.patch.object(augment, "random", sign):
                        level_to_argument = augment.LEVEL_TO_ARG[name]
                        argument = level_to_argument(magnitude, {})[0] if level_to_argument else 0
                    arguments.append([kind, increasing, magnitude, backwards, argument])
    lines = ",\n".join(json.dumps(argument, separators=(",", ":")) for argument in arguments)
    path.write_text(f'{{"policies": {json.dumps(policies)},\n"arguments": [\n{lines}]}}\n')


def write_rand_augment(path):
    augment = timm.data.auto_augment
    pictures = {"scene": scene(11, 8, 5)}
    cases = Cases(pictures)
    image = Image.fromarray(pictures["scene"])
    for increasing, names in ((False, augment._RAND_TRANSFORMS), (True, augment._RAND_INCREASING_TRANSFORMS)):
        for kind, name in enumerate(names):
            for magnitude, filter, backwards in ((9.0, "bicubic", False), (4.4, "bilinear", True)):
                sign = types.SimpleNamespace(random=lambda: 0.75 if backwards else 0.25)
                with mock.patch.object(augment, "random", sign):
                    operation = augment.AugmentOp(name, prob=1.0, magnitude=magnitude,
                                                  hparams={"img_mean": FILL, "interpolation": FILTERS[filter]})
                    cases.add(operation(image), source="scene", kind=kind, increasing=increasing, magnitude=magnitude,
                              backwards=backwards, filter=filter)
    cases.write(path)


def write_pipeline(path):
    pictures = {"wide": scene(46, 30, 1), "tall": scene(27, 41, 2), "strip": scene(90, 4, 3), "small": noise(7, 9, 4)}
    # arguments of timm's transform; how many keys; pictures
    settings = [
        ({"auto_augment": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic", "color_jitter": 0.4}, 14, ("wide", "tall")),
        ({"auto_augment": "rand-m7-n4-p0.9-mstd101", "interpolation": "random"}, 10, ("tall", "wide")),
        ({"auto_augment": "rand-m8-n3-p1-inc1", "interpolation": "bilinear"}, 4, ("small", "tall")),
        ({"color_jitter": 0.4, "interpolation": "random"}, 6, ("wide", "tall")),
        ({"color_jitter": 1.3, "interpolation": "bicubic"}, 3, ("wide",)),
        ({"scale": (0.3, 0.9), "ratio": (0.5, 2.0), "interpolation": "lanczos", "hflip": 0.9}, 4, ("wide", "small")),
        ({"scale": (0.9, 1.0), "interpolation": "bicubic"}, 4, ("strip", "tall")),
    ]
    resolution = 20
    cases = Cases(pictures)
    for number, (arguments, count, names) in enumerate(settings):
        transform = transforms_imagenet_train(
            resolution, mean=IMAGENET_MEAN, normalize=False, **{"color_jitter": None, **arguments})
        made, sample = 0, 0
        while made < count:
            seed, epoch, source = 1000 + number, sample % 3, names[sample % len(names)]
            random = KeyedRandom(seed, hash_name("augment"), epoch, sample)
            flips = KeyedRandom(seed, hash_name("flip"), sample, epoch)
            try:
                with drawing_from(random, flips):
                    output = transform(Image.fromarray(pictures[source]))
                cases.add(output.permute(1, 2, 0).contiguous().numpy(), source=source, seed=seed, epoch=epoch,
                          sample=sample, resolution=resolution, **arguments)
                made += 1
            except ValueError as error:
                if "bits must be" not in str(error):  # timm asks to keep 0 bits, which Pillow 13 refuses
                    raise
            sample += 1
    cases.write(path)


def write_erasing(path):
    height, width = 13, 18
    picture = (scene(width, height, 6) / numpy.float32(128) - numpy.float32(1)).astype(numpy.float32)
    cases = Cases({"scene": picture})
    for mode in ("const", "rand", "pixel"):
        for sample in range(3):
            random = KeyedRandom(77, hash_name("erase"), 5, sample)

            def pixels(per_pixel, rand_color, size, dtype, device):
                channels, rows, columns = size
                if per_pixel:  # our pictures lie by rows, with their channels together
                    values = [random.gauss() for _ in range(rows * columns * channels)]
                    return torch.tensor(values, dtype=torch.float64).reshape(rows, columns, channels).permute(2, 0, 1)
                values = [random.gauss() if rand_color else 0.0 for _ in range(channels)]
                return torch.tensor(values, dtype=torch.float64).reshape(channels, 1, 1)

            tensor = torch.from_numpy(picture).permute(2, 0, 1).clone()
            with drawing_from(random), mock.patch.object(timm.data.random_erasing, "_get_pixels", pixels):
                timm.data.random_erasing.RandomErasing(probability=0.75, mode=mode, device="cpu")(tensor)
            cases.add(tensor.permute(1, 2, 0).contiguous().numpy(), source="scene", mode=mode, probability=0.75, seed=77,
                      epoch=5, sample=sample)
    cases.write(path)


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "augmentation"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    out.mkdir(parents=True, exist_ok=True)
    write_operations(out / "operations.safetensors")
    write_policies(out / "policies.json")
    write_rand_augment(out / "rand_augment.safetensors")
    write_pipeline(out / "pipeline.safetensors")
    write_erasing(out / "erasing.safetensors")
    versions = {
        "pillow": PIL.__version__,
        "numpy": numpy.__version__,
        "timm": timm.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    write_json(out / "versions.json", versions)


if __name__ == "__main__":
    main()
