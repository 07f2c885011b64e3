"""Pictures, and what Pillow and timm make of them: python tools/goldens/pictures.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/pictures), for tests/image_golden_test.cc:

    decode/NAME.jpg, .png, .webp    pictures drawn by formula and stored in the ways that a decoder tells apart
    decode/NAME.*.npy               Image.open(...).convert("RGB"), (height, width, 3) uint8
    resize/source_WxH.npy           inputs of the resize cases
    resize/WxH_to_WxH.npy           Image.resize((width, height), FILTER) for each of FILTERS in turn, stacked
    transform/cases.json            settings of timm.data.create_transform(is_training=False, ...) and the picture's name
    transform/NAME.npy              the transform's output, (3, resolution, resolution) float32
    versions.json                   of what made the files

Every sample comes from integer arithmetic on its place, so two runs of the same versions give the same bytes. What an
earlier run wrote into these three folders goes away first.
"""

import io
import json
import pathlib
import shutil
import struct
import sys
import zlib

import numpy
import PIL
import PIL.features
import timm
import timm.data
import torch
import torchvision
from PIL import Image

FILTERS = [
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
]


def noise(width, height, seed):
    """Bytes of a linear congruential generator, (height, width, 3)."""
    count = width * height * 3
    state = (seed * 2654435761 + 12345) % 2**32
    values = numpy.empty(count, numpy.uint8)
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = state >> 24
    return values.reshape(height, width, 3)


def scene(width, height, seed=0):
    """Gradients, saturated edges and a patch of noise: something for every part of a codec and every lobe of a filter."""
    y, x = numpy.mgrid[0:height, 0:width]
    picture = numpy.empty((height, width, 3), numpy.uint8)
    picture[..., 0] = (x * 255) // max(width - 1, 1)
    picture[..., 1] = (y * 255) // max(height - 1, 1)
    picture[..., 2] = ((x + 2 * y) * 5 + seed * 31) % 256
    picture[(x // 5 + y // 7) % 4 == 0] = (255, 0, 0)
    picture[(x // 3 - y // 4) % 6 == 0] = (0, 20, 255)
    picture[(x - y) % 11 == 0] = (255, 255, 255)
    top, left = height // 3, width // 2
    patch = noise(width, height, seed + 1)
    picture[top : 2 * top, left:] = patch[top : 2 * top, left:]
    return picture


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(rows, bits, colour, width, height, interlaced=False, extra=b""):
    """A PNG of the given filtered rows (each with its filter byte), for kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows, 9))
        + png_chunk(b"IEND", b"")
    )


def plain_rows(samples):
    """Rows with filter 0 of an array (height, bytes)."""
    return b"".join(b"\0" + bytes(row) for row in samples)


def interlaced_rows(samples):
    """The seven Adam7 passes of (height, width, bytes of a pixel)."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    out = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        if part.size:
            out += plain_rows(part.reshape(part.shape[0], -1))
    return out


def big_endian(samples):
    """16-bit samples (height, width, channels) as bytes (height, width, 2 * channels)."""
    height, width, channels = samples.shape
    return samples.astype(">u2").view(numpy.uint8).reshape(height, width, 2 * channels)


def jpegs():
    rgb = Image.fromarray(scene(48, 37))
    grey = rgb.convert("L")
    cmyk = Image.fromarray(numpy.dstack([scene(24, 19), scene(24, 19, 5)[..., :1]]), "CMYK")
    return {
        "baseline_444": (rgb, {"quality": 92, "subsampling": "4:4:4"}),
        "baseline_422": (rgb, {"quality": 85, "subsampling": "4:2:2"}),
        "baseline_420": (rgb, {"quality": 85, "subsampling": "4:2:0"}),
        "baseline_420_odd": (Image.fromarray(scene(33, 17, 2)), {"quality": 75, "subsampling": "4:2:0"}),
        "quality_10": (rgb, {"quality": 10}),
        "quality_100": (Image.fromarray(noise(16, 24, 3)), {"quality": 100, "subsampling": "4:4:4"}),
        "progressive": (rgb, {"quality": 85, "subsampling": "4:2:0", "progressive": True}),
        "progressive_444": (rgb, {"quality": 60, "subsampling": "4:4:4", "progressive": True}),
        "restart": (rgb, {"quality": 85, "subsampling": "4:2:0", "restart_marker_rows": 1}),
        "grey": (grey, {"quality": 85}),
        "rgb_stored": (rgb, {"quality": 90, "keep_rgb": True}),
        "cmyk": (cmyk, {"quality": 90}),
        "one_pixel": (Image.fromarray(scene(1, 1)), {"quality": 85}),
        "one_row": (Image.fromarray(scene(31, 1)), {"quality": 85, "subsampling": "4:2:0"}),
        "one_column": (Image.fromarray(scene(1, 31)), {"quality": 85, "subsampling": "4:2:0"}),
    }


def pngs():
    rgb = scene(29, 22)
    alpha = noise(29, 22, 9)[..., :1]
    grey = rgb[..., 1]
    wide = rgb.astype(numpy.uint16) * 199 + noise(29, 22, 4)  # 16 bits whose low byte matters to nobody
    picture = Image.fromarray(rgb)
    palette = picture.quantize(23, dither=Image.Dither.NONE)
    files = {}

    def save(name, image, **options):
        stream = io.BytesIO()
        image.save(stream, "PNG", **options)
        files[name] = stream.getvalue()

    save("rgb", picture)
    save("rgba", Image.fromarray(numpy.dstack([rgb, alpha])))
    save("grey", Image.fromarray(grey))
    save("grey_alpha", Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha[..., 0])]))
    save("one_bit", Image.fromarray(grey).point(lambda v: 255 * (v > 99), "1"))
    save("palette", palette)
    save("palette_4_bits", picture.quantize(13, dither=Image.Dither.NONE), bits=4)
    save("palette_alpha", palette, transparency=bytes(range(0, 230, 10)))
    save("grey_16", Image.fromarray((grey.astype(numpy.uint16) * 3)))
    save("one_pixel", Image.fromarray(scene(1, 1)))
    files["grey_2_bits"] = write_png(plain_rows(numpy.packbits(
        numpy.unpackbits((grey[:, :28] >> 6)[..., None], axis=2)[..., 6:].reshape(22, -1), axis=1)), 2, 0, 28, 22)
    files["grey_4_bits"] = write_png(plain_rows((grey[:, 0:28:2] & 0xF0) | (grey[:, 1:28:2] >> 4)), 4, 0, 28, 22)
    files["rgb_16"] = write_png(plain_rows(big_endian(wide).reshape(22, -1)), 16, 2, 29, 22)
    files["rgba_16"] = write_png(
        plain_rows(big_endian(numpy.dstack([wide, alpha * numpy.uint16(257)])).reshape(22, -1)), 16, 6, 29, 22)
    files["grey_alpha_16"] = write_png(
        plain_rows(big_endian(numpy.dstack([wide[..., :1], alpha * numpy.uint16(257)])).reshape(22, -1)), 16, 4, 29, 22)
    files["rgb_interlaced"] = write_png(interlaced_rows(rgb), 8, 2, 29, 22, interlaced=True)
    files["palette_interlaced"] = write_png(
        interlaced_rows(numpy.asarray(palette)[..., None]), 8, 3, 29, 22, interlaced=True,
        extra=png_chunk(b"PLTE", bytes(palette.getpalette()[: 23 * 3])))
    files["rgb_transparent_colour"] = write_png(
        plain_rows(rgb.reshape(22, -1)), 8, 2, 29, 22, extra=png_chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0)))
    files["rgb_gamma"] = write_png(
        plain_rows(rgb.reshape(22, -1)), 8, 2, 29, 22, extra=png_chunk(b"gAMA", struct.pack(">I", 100000)))
    return files


def webps():
    rgb = Image.fromarray(scene(41, 30))
    rgba = Image.fromarray(numpy.dstack([scene(41, 30), noise(41, 30, 6)[..., :1]]))
    return {
        "lossy": (rgb, {"quality": 80}),
        "lossy_low": (rgb, {"quality": 5}),
        "lossy_odd": (Image.fromarray(scene(17, 33, 3)), {"quality": 90}),
        "lossy_alpha": (rgba, {"quality": 80}),
        "lossless": (rgb, {"lossless": True}),
        "lossless_alpha": (rgba, {"lossless": True, "exact": True}),
        "one_pixel": (Image.fromarray(scene(1, 1)), {"quality": 80}),
    }


def write_decode_cases(folder):
    for extension, kind, cases in (("jpg", "JPEG", jpegs()), ("webp", "WEBP", webps())):
        for name, (image, options) in cases.items():
            image.save(folder / f"{name}.{extension}", kind, **options)
    for name, data in pngs().items():
        (folder / f"{name}.png").write_bytes(data)
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            numpy.save(f"{path}.npy", numpy.asarray(image.convert("RGB")))


def write_resize_cases(folder):
    # (width, height) of the source, and of what is made of it: down, up, mixed, one axis kept, single pixels, extreme
    # shapes, sources more than a hundred times as tall as wide, and sizes on both sides of where Pillow changes the order
    # of its two passes, which changes the rounding.
    cases = {
        (40, 27): [(13, 9), (61, 40), (17, 50), (61, 11), (40, 11), (9, 27), (39, 26), (1, 1), (40, 27), (35, 16), (35, 17)],
        (21, 48): [(11, 26), (11, 28), (11, 29), (30, 49)],
        (64, 3): [(5, 2), (7, 31)],
        (1, 33): [(4, 7), (1, 50)],
        (29, 1): [(8, 5), (8, 1)],
        (1, 1): [(5, 4)],
        (300, 2): [(20, 4)],
        (2, 200): [(3, 11), (5, 11)],
        (2, 201): [(3, 11), (5, 230), (3, 201), (1, 17), (1, 199), (1, 198)],
        (3, 307): [(7, 19), (2, 19)],
    }
    for (width, height), sizes in cases.items():
        source = scene(width, height, seed=width)
        numpy.save(folder / f"source_{width}x{height}.npy", source)
        for size in sizes:
            outputs = [numpy.asarray(Image.fromarray(source).resize(size, each)) for each in FILTERS]
            numpy.save(folder / f"{width}x{height}_to_{size[0]}x{size[1]}.npy", numpy.stack(outputs))


def write_transform_cases(folder):
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    inception = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    clip = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    # name: size of the picture, resolution, crop fraction, crop mode, interpolation, statistics
    cases = {
        "center_875": ((64, 48), 32, 0.875, "center", "bicubic", imagenet),
        "center_875_tall": ((43, 64), 32, 0.875, "center", "bicubic", imagenet),
        "center_95_odd": ((61, 47), 37, 0.95, "center", "bicubic", imagenet),
        "center_95_even_spare": ((50, 41), 33, 0.95, "center", "bilinear", imagenet),
        "center_100": ((64, 33), 32, 1.0, "center", "bicubic", inception),
        "center_90_enlarged": ((20, 14), 32, 0.9, "center", "lanczos", clip),
        "center_875_box": ((55, 64), 31, 0.875, "center", "box", clip),
        "center_875_hamming": ((64, 39), 30, 0.875, "center", "hamming", imagenet),
        "center_unchanged": ((36, 36), 32, 0.875, "center", "bicubic", imagenet),
        "center_tall": ((2, 250), 16, 0.875, "center", "bicubic", imagenet),
        "center_wide": ((250, 2), 16, 0.875, "center", "bicubic", imagenet),
        "squash_100": ((64, 48), 32, 1.0, "squash", "bicubic", imagenet),
        "squash_875": ((45, 64), 32, 0.875, "squash", "bilinear", imagenet),
        "padded": ((30, 22), 32, 1.25, "center", "bicubic", imagenet),
        "padded_odd": ((22, 40), 33, 1.3, "center", "bicubic", inception),
        "padded_squash": ((22, 40), 32, 1.1, "squash", "bicubic", imagenet),
    }
    described = {}
    for name, (size, resolution, crop_fraction, crop_mode, interpolation, statistics) in cases.items():
        picture = scene(*size, seed=resolution)
        transform = timm.data.create_transform(
            input_size=(3, resolution, resolution),
            is_training=False,
            interpolation=interpolation,
            crop_pct=crop_fraction,
            crop_mode=crop_mode,
            **statistics,
        )
        numpy.save(folder / f"{name}.npy", transform(Image.fromarray(picture)).numpy())
        source = f"source_{size[0]}x{size[1]}_{resolution}.npy"
        numpy.save(folder / source, picture)
        described[name] = {
            "source": source,
            "resolution": resolution,
            "crop_fraction": crop_fraction,
            "crop_mode": crop_mode,
            "interpolation": interpolation,
            **statistics,
        }
    (folder / "cases.json").write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "pictures"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for name, write in (
        ("decode", write_decode_cases),
        ("resize", write_resize_cases),
        ("transform", write_transform_cases),
    ):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
        write(out / name)
    versions = {
        "pillow": PIL.__version__,
        "libjpeg_turbo": PIL.features.version("libjpeg_turbo"),
        "webp": PIL.features.version("webp"),
        "numpy": numpy.__version__,
        "timm": timm.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    (out / "versions.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
