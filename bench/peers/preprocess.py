"""Pictures a second from JPEG files to input tensors: ours, Pillow with timm's transform, and torchvision, in turn.

    build/goldens/bin/python bench/peers/preprocess.py FOLDER [--rounds 10]

One thread each; 224 pixels, bicubic, 0.875, ImageNet statistics; files are read before the clock starts. Decoding alone
is Image.open(...).convert("RGB") beside ours. torchvision decodes with its own decoder, or with Pillow where that is
missing, and resizes 8-bit tensors: those are not Pillow's pixels. The environment is that of the goldens
(tools/make_goldens.sh makes it).
"""

import argparse
import io
import json
import pathlib
import statistics
import subprocess
import time

import numpy
import timm.data
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def torchvision_decoder(data):
    """From bytes to an 8-bit tensor."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg

        tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        decode_jpeg(tensor, mode=ImageReadMode.RGB)
        return lambda data: decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB
        ), "torchvision's decoder"
    except (ImportError, RuntimeError):
        return lambda data: v2.functional.to_image(decode(data)), "Pillow's decoder"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(path for path in pathlib.Path(options.folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = [path.read_bytes() for path in paths]

    timm_transform = timm.data.create_transform(
        (3, 224, 224), is_training=False, interpolation="bicubic", crop_pct=0.875, mean=MEAN, std=STD
    )
    to_tensor, decoder = torchvision_decoder(files[0])
    v2_transform = v2.Compose([
        v2.Resize(256, InterpolationMode.BICUBIC, antialias=True),
        v2.CenterCrop(224),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ])
    peers = {
        "Pillow, decoding alone": decode,
        "Pillow and timm": lambda data: timm_transform(decode(data)),
        f"torchvision v2, {decoder}": lambda data: v2_transform(to_tensor(data)),
    }

    def ours():
        command = [ROOT / "build/release/bin/bench_preprocess", options.folder, "1"]
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        return {step: 1 / seconds[0] for step, seconds in json.loads(run.stdout).items()}

    rates = {}
    for _ in range(options.rounds):
        for step, rate in ours().items():
            rates.setdefault(f"ours, {step}", []).append(rate)
        for name, prepare in peers.items():
            start = time.perf_counter()
            for data in files:
                prepare(data)
            rates.setdefault(name, []).append(len(files) / (time.perf_counter() - start))
    size = statistics.mean(len(data) for data in files) / 1000
    print(f"pictures a second, 1 thread, {len(files)} files of {size:.0f} kB on average, {options.rounds} rounds")
    for name, values in rates.items():
        print(f"{name:42} best {max(values):8.0f}   median {statistics.median(values):8.0f}")
    for name in list(peers)[1:]:
        ratio = statistics.median(numpy.divide(rates["ours, whole"], rates[name]))
        print(f"{'ours to ' + name:42} {ratio:13.2f} times (median)")


if __name__ == "__main__":
    main()
