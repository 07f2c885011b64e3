"""Pictures, and what Pillow and timm make of them: python tools/goldens/pictures.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/pictures), for tests/image_golden_test.cc:

    decode/NAME.jpg, .png, .webp    pictures drawn by formula and stored in the ways that a decoder tells apart
    decode/NAME.*.npy               Image.open(...).convert("RGB"), (height, width, 3) uint8
    orientation/NAME.jpg, ...       pictures with notes of which way is up
    orientation/NAME.*.npy          ImageOps.exif_transpose of them
    resize/source_WxH.npy           inputs of the resize cases
    resize/WxH_to_WxH.npy           Image.resize((width, height), FILTER) for each of FILTERS in turn, stacked
    resize/torchvision.json         hashes of torchvision's resize of the same inputs as 8-bit tensors
    transform/cases.json            settings of an evaluation transform, the picture's name, and the hash of the output
    transform/source_*.npy          those pictures, but for one of examples/pictures
    versions.json                   of what made the files

The transforms are timm.data.create_transform(is_training=False, ...), torchvision's v2 transforms on 8-bit tensors, and
Hugging Face's ConvNextImageProcessor. Hashes are FNV-1a of 64 bits, over the bytes of (height, width, 3) uint8 or of
(3, resolution, resolution) float32.

Every sample comes from integer arithmetic on its place, so two runs of the same versions give the same bytes. What an
earlier run wrote into these folders goes away first.
"""

import base64
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
import transformers
from PIL import Image, ImageOps
from torchvision.transforms import v2
from transformers import ConvNextImageProcessor, DINOv3ViTImageProcessor

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "pictures"

FILTERS = [
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
]

# Neither Pillow nor this script writes arithmetic coding: scene(19, 17) by jpegtran -arithmetic [-progressive].
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+JS5ESU"
    "M8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/yQARCAAR"
    "ABMDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AGXpfSP7bkaMD+/IbSGPT2VnTADdbbYsgc5YnYpClFENt+cdgSni7E6Pvy"
    "wfCi4PckAt6i7G/wDckVALP1lV63oUCicmLy81XcayE4E7IwjD+68kyZCINKwxGZ9lEY3xqFjTpWdw2sSe2kLMSctGEnksKBQClSML3KpcO5KK"
    "HhRIBF/A6uVKnbRsoLa2FBv1TPohLKaaC+LvqvZH0cPiKPj4mA/9aOOssZtOAngHwmBwfnEJIkj7qNXjORMlc15xMB8ixYmXapbBEJ4cd+Bxzc"
    "v7TdxVuELlEyT3hR0WDAj8932YCXmoduL8MebOs0f3sReTGuQgVndx58iB955Dp+82Ax/GP199nHIv2APeuGhqmSpTNOn29TjxFMVUHuUOzFxR"
    "MwFlEbLefXv6Pkkzl+kGKMLg/9k="
)
ARITHMETIC_PROGRESSIVE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+JS5ESU"
    "M8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/ygARCAAR"
    "ABMDASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf7Ia8IJ1wQf9Uu/htBisBVlemxLe//MAAQQBf/aAAgBAQABBQKRLGoGRev+wGFtlQ"
    "pnQgOuo6y+MNoNglDUgP/MAAQRBf/aAAgBAwEBPwEVTfW0kjaHtx0wKAFh2/tSvV2101r9XID/zAAEEQX/2gAIAQIBAT8BSXwJzT+Nx0tDpJqi"
    "s6DQDd+W1DmRZsFa6P/MAAQQBf/aAAgBAQAGPwKkiicmRanoUj4LMcE43bOa8OidFVp1iPy1l5kes0m/aHHUM6bksB4gYpA4/8wABBAF/9oACA"
    "EBAAE/IReYp4s5OgALRoGlPQfHHBScQ8bsJrRX1R4EsIcJ+XBae8veJ7+KoXDWEsyKIdTO8lIKxh3/2gAMAwEAAgADAAAAEJlBIv/MAAQRBf/a"
    "AAgBAwEBPxCYz8n/APFy2rkjEotOb+/VI/edMVRsNvWA/8wABBEF/9oACAECAQE/EPJ0wDDGPV+p+0CWufkXAIEHGYim/8wABBAF/9oACAEBAA"
    "E/EMEuZZBg+FEVP8el7IBehKbIO/HlE1ruF/fSUy1iScVlL+V+4yxQvpDgFL5k4GG0Y2OFjxeerk+pR/figskxwS7vufm6GP/Z"
)


def fnv_1a(data):
    value = 0xCBF29CE484222325
    for byte in bytes(data):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


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


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_sampling(data, factors, width, height):
    """A baseline JPEG whose MCUs, as many as before, are read in another shape: kinds that Pillow does not write."""
    data = bytearray(data)
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    data[frame + 11] = factors
    return bytes(data)


def stored_jpegs():
    """Files that are more than Pillow's save() with options."""
    half = encoded(Image.fromarray(scene(48, 40)), "JPEG", quality=85, subsampling="4:2:2")  # 3 x 5 of two blocks
    quarter = encoded(Image.fromarray(scene(48, 48)), "JPEG", quality=85, subsampling="4:2:0")  # 3 x 3 of four
    cmyk = encoded(Image.fromarray(numpy.dstack([scene(24, 19), scene(24, 19, 5)[..., :1]]), "CMYK"), "JPEG", quality=90)
    adobe = cmyk.index(b"\xff\xee\x00\x0eAdobe")
    return {
        "sampling_440": with_sampling(half, 0x12, 24, 79),
        "sampling_411": with_sampling(quarter, 0x41, 95, 23),
        "sampling_1x4": with_sampling(quarter, 0x14, 23, 95),
        "ycck": cmyk[: adobe + 15] + b"\x02" + cmyk[adobe + 16 :],
        "cmyk_without_adobe": cmyk[:adobe] + cmyk[adobe + 16 :],
        "arithmetic": ARITHMETIC,
        "arithmetic_progressive": ARITHMETIC_PROGRESSIVE,
    }


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
        "grey_progressive": (grey, {"quality": 85, "progressive": True}),
        "profile": (Image.fromarray(scene(9, 8)), {"quality": 85, "icc_profile": b"not looked at" * 9}),
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
    save("profile", picture.crop((0, 0, 9, 8)), icc_profile=b"not looked at" * 9)
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
    files["palette_short"] = write_png(
        plain_rows(numpy.arange(12, dtype=numpy.uint8)[None]), 8, 3, 12, 1,
        extra=png_chunk(b"PLTE", bytes(range(30, 39))))
    files["palette_1_bit"] = write_png(
        plain_rows(numpy.packbits(grey[:, :27] > 99, axis=1)), 1, 3, 27, 22, extra=png_chunk(b"PLTE", bytes(range(30, 36))))
    files["palette_2_bits"] = write_png(
        plain_rows(grey[:, :7]), 2, 3, 28, 22, extra=png_chunk(b"PLTE", bytes(range(30, 150, 10))))
    files["grey_transparent"] = write_png(
        plain_rows(grey), 8, 0, 29, 22, extra=png_chunk(b"tRNS", struct.pack(">H", 255)))
    files["grey_16_transparent"] = write_png(
        plain_rows(big_endian(wide[..., :1] % 300).reshape(22, -1)), 16, 0, 29, 22,
        extra=png_chunk(b"tRNS", struct.pack(">H", 5)))
    files["rgba_16_interlaced"] = write_png(
        interlaced_rows(big_endian(numpy.dstack([wide, alpha * numpy.uint16(257)]))), 16, 6, 29, 22, interlaced=True)
    files["grey_alpha_interlaced"] = write_png(
        interlaced_rows(numpy.dstack([grey[..., None], alpha])), 8, 4, 29, 22, interlaced=True)
    files["rgb_gamma"] = write_png(
        plain_rows(rgb.reshape(22, -1)), 8, 2, 29, 22, extra=png_chunk(b"gAMA", struct.pack(">I", 100000)))
    return files


def damaged():
    """Files that are not whole, and that Pillow reads all the same."""
    picture = Image.fromarray(scene(48, 37))
    baseline = encoded(picture, "JPEG", quality=85)
    restart = encoded(picture, "JPEG", quality=85, restart_marker_rows=1)
    pixels = baseline.index(b"\xff\xda") + 14
    frame = baseline.index(b"\xff\xc0")
    middle = restart.index(b"\xff\xd1") - 60
    progressive = bytearray(encoded(picture, "JPEG", quality=85, progressive=True))
    progressive[-200:-196] = b"\x55\xaa\x55\xaa"
    rows = zlib.compress(plain_rows(scene(29, 22).reshape(22, -1)), 9)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 29, 22, 8, 2, 0, 0, 0))
    data, end = png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")
    return {
        "damaged_ends_early.jpg": baseline[: pixels + (len(baseline) - pixels) // 2] + b"\xff\xd9",
        "damaged_more_rows.jpg": baseline[: frame + 5] + struct.pack(">H", 90) + baseline[frame + 7 :],
        "damaged_marker.jpg": baseline[: pixels + 150] + b"\xff\xd3" + baseline[pixels + 152 :],
        "damaged_restart.jpg": restart[:middle] + b"\x12\x34\x56" + restart[middle + 3 :],
        "damaged_restart_lost.jpg": restart.replace(b"\xff\xd1", b"\x11\xd1"),
        "damaged_progressive.jpg": bytes(progressive),
        "damaged_no_end.png": start + data,
        "damaged_end.png": start + data + end[:-1] + b"\0",
        "damaged_tail.png": start + data + b"\0\0\0\5IEN",
        "damaged_checksum.png": start + data[:-1] + bytes([data[-1] ^ 1]) + end,
        "unknown_critical.png": start + png_chunk(b"ABCD", b"nobody knows it") + data + end,
    }


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


def webp_chunk(kind, data):
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def little_endian_24(*values):
    return b"".join(struct.pack("<I", value)[:3] for value in values)


def stored_webps():
    """Animations; Pillow's own always begin with a frame of the whole canvas."""
    rgba = Image.fromarray(numpy.dstack([scene(26, 18), noise(26, 18, 6)[..., :1]]))
    others = [Image.fromarray(scene(26, 18, seed)) for seed in (1, 2)]
    part = encoded(Image.fromarray(scene(9, 7)), "WEBP", lossless=True)[12:]
    frame = webp_chunk(b"ANMF", little_endian_24(3, 2, 8, 6, 100) + b"\0" + part)  # at (6, 4)
    body = (
        b"WEBP"
        + webp_chunk(b"VP8X", b"\x02\0\0\0" + little_endian_24(19, 15))
        + webp_chunk(b"ANIM", b"\xff\x80\x40\xff\0\0")
        + frame
        + frame
    )
    return {
        "animated": encoded(others[0], "WEBP", save_all=True, append_images=others[1:], duration=100, quality=80),
        "animated_alpha": encoded(rgba, "WEBP", save_all=True, append_images=others, duration=100, quality=80),
        "animated_lossless": encoded(rgba, "WEBP", save_all=True, append_images=others, lossless=True, exact=True),
        "animated_part": b"RIFF" + struct.pack("<I", len(body)) + body,
    }


def write_decode_cases(folder):
    for extension, kind, cases in (("jpg", "JPEG", jpegs()), ("webp", "WEBP", webps())):
        for name, (image, options) in cases.items():
            image.save(folder / f"{name}.{extension}", kind, **options)
    for extension, files in (("jpg", stored_jpegs()), ("png", pngs()), ("webp", stored_webps())):
        for name, data in files.items():
            (folder / f"{name}.{extension}").write_bytes(data)
    for name, data in damaged().items():
        (folder / name).write_bytes(data)
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            numpy.save(f"{path}.npy", numpy.asarray(image.convert("RGB")))


def exif(value, order=">", kind=3, count=1):
    """A TIFF file of one tag, the orientation."""
    stored = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value]))
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, count) + stored + b"\0\0\0\0"


def write_orientation_cases(folder):
    picture = Image.fromarray(scene(7, 5))
    files = {f"{value}.jpg": encoded(picture, "JPEG", exif=b"Exif\0\0" + exif(value)) for value in range(0, 10)}
    for value in range(1, 9):
        files[f"{value}.png"] = encoded(picture, "PNG", exif=exif(value, "<"))
        files[f"{value}.webp"] = encoded(picture, "WEBP", lossless=True, exif=exif(value, "<"))
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/><tiff:Orientation>3</tiff:Orientation></x:xmpmeta>'
    files["xmp.jpg"] = encoded(picture, "JPEG", xmp=xmp.encode())
    files["xmp.webp"] = encoded(picture, "WEBP", lossless=True, xmp=xmp.encode())
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + b"<tiff:Orientation>8</tiff:Orientation>"
    plain = encoded(picture, "PNG")
    files["xmp.png"] = plain[:33] + png_chunk(b"iTXt", text) + plain[33:]
    files["late.png"] = plain[:-12] + png_chunk(b"eXIf", exif(6)) + plain[-12:]
    files["exif_before_xmp.jpg"] = encoded(picture, "JPEG", exif=b"Exif\0\0" + exif(1), xmp=xmp.encode())
    files["long.jpg"] = encoded(picture, "JPEG", exif=b"Exif\0\0" + exif(6, "<", kind=4))
    files["two_values.jpg"] = encoded(picture, "JPEG", exif=b"Exif\0\0" + exif(6, count=2))
    files["twice_introduced.jpg"] = encoded(picture, "JPEG", exif=b"Exif\0\0Exif\0\0" + exif(6))
    files["cut.jpg"] = encoded(picture, "JPEG", exif=b"Exif\0\0" + exif(6)[:17])
    for name, data in files.items():
        (folder / name).write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            numpy.save(folder / f"{name}.npy", numpy.asarray(ImageOps.exif_transpose(image).convert("RGB")))


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
    hashes = {}
    for (width, height), sizes in cases.items():
        source = scene(width, height, seed=width)
        numpy.save(folder / f"source_{width}x{height}.npy", source)
        for size in sizes:
            name = f"{width}x{height}_to_{size[0]}x{size[1]}"
            outputs = [numpy.asarray(Image.fromarray(source).resize(size, each)) for each in FILTERS]
            numpy.save(folder / f"{name}.npy", numpy.stack(outputs))
            tensor = v2.functional.to_image(Image.fromarray(source))
            hashes[name] = {
                mode: fnv_1a(v2.Resize(size[::-1], mode_of(mode), antialias=True)(tensor).permute(1, 2, 0).numpy().tobytes())
                for mode in ("bilinear", "bicubic", "lanczos")
            }
    (folder / "torchvision.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def mode_of(name):
    return torchvision.transforms.InterpolationMode(name)


def timm_transform(size, crop_fraction, crop_mode, interpolation, statistics):
    return timm.data.create_transform(
        input_size=(3, size, size),
        is_training=False,
        interpolation=interpolation,
        crop_pct=crop_fraction,
        crop_mode=crop_mode,
        **statistics,
    )


def torchvision_transform(size, crop_fraction, crop_mode, interpolation, statistics):
    """DINOv3's published transform, and the same with a crop."""
    scale = int(size / crop_fraction)
    return v2.Compose([
        v2.ToImage(),
        v2.Resize([scale, scale] if crop_mode == "squash" else scale, mode_of(interpolation), antialias=True),
        v2.CenterCrop(size),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(**statistics),
    ])


def transformers_processor(size, crop_fraction, crop_mode, interpolation, statistics):
    assert crop_mode == ("squash" if size >= 384 else "center")
    return ConvNextImageProcessor(
        size={"shortest_edge": size},
        crop_pct=crop_fraction,
        resample=getattr(Image.Resampling, interpolation.upper()),
        image_mean=statistics["mean"],
        image_std=statistics["std"],
    )


def dinov3_processor(size, crop_fraction, crop_mode, interpolation, statistics):
    """transformers' own, whose resize is of floats; a crop is no default of it."""
    scale = int(size / crop_fraction)
    crop = {"do_center_crop": True, "crop_size": {"height": size, "width": size}}
    return DINOv3ViTImageProcessor(
        size={"height": scale, "width": scale} if crop_mode == "squash" else {"shortest_edge": scale},
        resample=getattr(Image.Resampling, interpolation.upper()),
        image_mean=statistics["mean"],
        image_std=statistics["std"],
        **(crop if crop_mode == "center" or scale != size else {}),
    )


def processor_transform(make_processor):
    def transform(*settings):
        processor = make_processor(*settings)
        return lambda image: processor(image, return_tensors="pt")["pixel_values"][0]

    return transform


PIPELINES = {
    "timm": timm_transform,
    "torchvision": torchvision_transform,
    "transformers": processor_transform(transformers_processor),
    "dinov3": processor_transform(dinov3_processor),
}


def write_transform_cases(folder):
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    inception = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    clip = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    photo = "chelsea.png"
    # name: size of the picture, resolution, crop fraction, crop mode, interpolation, statistics; pipeline if not timm's
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
        "center_above_100_to_1": ((2, 301), 16, 0.875, "center", "bicubic", imagenet),
        "center_one_row": ((250, 1), 16, 0.875, "center", "bicubic", imagenet),
        "center_one_column": ((1, 250), 16, 0.875, "center", "lanczos", imagenet),
        "center_one_pixel": ((1, 1), 16, 0.875, "center", "bicubic", imagenet),
        "border_100": ((64, 48), 32, 1.0, "border", "bicubic", imagenet),
        "border_90_tall": ((43, 64), 32, 0.9, "border", "bilinear", clip),
        "border_enlarged": ((20, 14), 32, 1.0, "border", "bicubic", inception),
        "border_half": ((64, 39), 32, 1.0, "border", "hamming", imagenet),  # 19.5 rows
        "torchvision_squash": ((64, 48), 32, 1.0, "squash", "bilinear", imagenet, "torchvision"),
        "torchvision_enlarged": ((20, 14), 32, 1.0, "squash", "bicubic", imagenet, "torchvision"),
        "torchvision_center": ((61, 47), 37, 0.95, "center", "bicubic", clip, "torchvision"),
        "torchvision_tall": ((2, 250), 16, 0.875, "center", "bilinear", imagenet, "torchvision"),
        "transformers_center": ((61, 47), 37, 0.95, "center", "bicubic", imagenet, "transformers"),
        "transformers_enlarged": ((20, 14), 32, 0.875, "center", "bilinear", clip, "transformers"),
        "transformers_lanczos": ((55, 64), 31, 0.875, "center", "lanczos", imagenet, "transformers"),
        "transformers_wide": ((250, 2), 16, 0.875, "center", "bicubic", imagenet, "transformers"),
        "dinov3_squash": ((64, 48), 32, 1.0, "squash", "bilinear", imagenet, "dinov3"),
        "dinov3_enlarged": ((20, 14), 32, 1.0, "squash", "bilinear", imagenet, "dinov3"),
        "dinov3_same_width": ((24, 131), 24, 1.0, "squash", "bilinear", clip, "dinov3"),
        "dinov3_much_smaller": ((250, 131), 16, 1.0, "squash", "bilinear", imagenet, "dinov3"),
        "dinov3_tall": ((2, 250), 16, 1.0, "squash", "bilinear", inception, "dinov3"),
        "dinov3_one_pixel": ((1, 1), 16, 1.0, "squash", "bilinear", imagenet, "dinov3"),
        "dinov3_center": ((61, 47), 37, 0.95, "center", "bilinear", clip, "dinov3"),
        "photo_dinov3": (photo, 224, 1.0, "squash", "bilinear", imagenet, "dinov3"),
        "photo_center": (photo, 224, 0.875, "center", "bicubic", imagenet),
        "photo_squash": (photo, 384, 1.0, "squash", "bicubic", imagenet),
        "photo_border": (photo, 224, 0.95, "border", "bicubic", imagenet),
        "photo_lanczos": (photo, 288, 1.0, "center", "lanczos", clip),
        "photo_torchvision": (photo, 256, 1.0, "squash", "bilinear", imagenet, "torchvision"),
        "photo_transformers": (photo, 224, 0.875, "center", "bicubic", imagenet, "transformers"),
        "photo_transformers_384": (photo, 384, 1.0, "squash", "bicubic", imagenet, "transformers"),
    }
    described = {}
    for name, (picture, *settings) in cases.items():
        pipeline = settings.pop() if isinstance(settings[-1], str) else "timm"
        resolution, crop_fraction, crop_mode, interpolation, statistics = settings
        if picture == photo:
            source, image = photo, Image.open(EXAMPLES / photo).convert("RGB")
        else:
            source, pixels = f"source_{picture[0]}x{picture[1]}_{resolution}.npy", scene(*picture, seed=resolution)
            numpy.save(folder / source, pixels)
            image = Image.fromarray(pixels)
        output = PIPELINES[pipeline](*settings)(image).numpy()
        assert output.shape == (3, resolution, resolution) and output.dtype == numpy.float32
        described[name] = {
            "source": source,
            "resolution": resolution,
            "crop_fraction": crop_fraction,
            "crop_mode": crop_mode,
            "interpolation": interpolation,
            "pipeline": pipeline,
            "hash": fnv_1a(output.tobytes()),
            **statistics,
        }
    (folder / "cases.json").write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")


def main():
    default = ROOT / "tests" / "goldens" / "pictures"
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for name, write in (
        ("decode", write_decode_cases),
        ("orientation", write_orientation_cases),
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
        "transformers": transformers.__version__,
    }
    (out / "versions.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
