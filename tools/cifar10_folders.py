#!/usr/bin/env python3
"""Turns the official CIFAR-10 archive into folders that `convnext train` and `convnext eval` read.

    python3 tools/cifar10_folders.py cifar-10-binary.tar.gz cifar10

The archive is "CIFAR-10 binary version" of https://www.cs.toronto.edu/~kriz/cifar.html. The result is
cifar10/train/<class>/NNNN.jpg (50,000) and cifar10/test/<class>/NNNN.jpg (10,000), numbered in the archive's order.

--format jpg (the default) writes JPEG files of quality 75, which is the form of the data that the shipped model's
accuracy is for; --format png keeps the pixels as they are. Needs Pillow.
"""

import argparse
import pathlib
import sys
import tarfile

CLASSES = 10
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # a label, then the red, green and blue planes


def records(archive, member):
    """(label, 3 planes of bytes) of each picture in one file of the archive."""
    data = archive.extractfile(member).read()
    if len(data) % RECORD != 0:
        sys.exit(f"{member.name} is {len(data)} bytes, which is no whole number of {RECORD}-byte records")
    for start in range(0, len(data), RECORD):
        yield data[start], data[start + 1 : start + RECORD]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--format", choices=["jpg", "png"], default="jpg")
    arguments = parser.parse_args()
    from PIL import Image

    with tarfile.open(arguments.archive) as archive:
        members = {pathlib.PurePosixPath(member.name).name: member for member in archive.getmembers()}
        missing = {"batches.meta.txt", "test_batch.bin"} - members.keys()
        if missing:
            sys.exit(f"{arguments.archive} holds no {', '.join(sorted(missing))}: it is not the binary version")
        names = archive.extractfile(members["batches.meta.txt"]).read().decode().split()[:CLASSES]
        splits = {
            "train": sorted(name for name in members if name.startswith("data_batch_")),
            "test": ["test_batch.bin"],
        }
        for split, files in splits.items():
            count = [0] * CLASSES
            for name in names:
                (arguments.folder / split / name).mkdir(parents=True, exist_ok=True)
            for file in files:
                for label, planes in records(archive, members[file]):
                    size = SIDE * SIDE
                    bands = [Image.frombytes("L", (SIDE, SIDE), planes[c * size : (c + 1) * size]) for c in range(3)]
                    count[label] += 1
                    path = arguments.folder / split / names[label] / f"{count[label]:04}.{arguments.format}"
                    Image.merge("RGB", bands).save(path, **({"quality": 75} if arguments.format == "jpg" else {}))
            print(f"{split}: {sum(count)} pictures of {len(names)} classes")


if __name__ == "__main__":
    main()
