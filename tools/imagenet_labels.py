"""The names of ImageNet's classes, from WordNet: python tools/imagenet_labels.py [OUT_FILE]

Writes OUT_FILE (default src/model/imagenet_labels.gz): a gzip of lines "n01440764 7 tench" in the order of the synsets,
which is the order of the classes in every one of the lists. The number says which lists the synset is in: 1 for
ImageNet-1K (1,000 classes), 2 for 12K (11,821), 4 for 22K (21,841). The synsets and their lemmas are those that come
with timm.

A name is the synset's first lemma, or the first two where another class of ImageNet-1K has the same first.
"""

import gzip
import pathlib
import sys
from collections import Counter

import timm

LISTS = {1: "imagenet_synsets.txt", 2: "imagenet12k_synsets.txt", 4: "imagenet22k_synsets.txt"}
# Both have one lemma only.
CRANES = {"n02012849": "crane (bird)", "n03126707": "crane (machine)"}


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src/model/imagenet_labels.gz")
    info = pathlib.Path(timm.__file__).parent / "data" / "_info"
    lists = {bit: (info / name).read_text().split() for bit, name in LISTS.items()}
    lemmas = {}
    for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines():
        synset, names = line.split("\t", 1)
        lemmas[synset] = names.split(", ")

    shared = Counter(lemmas[synset][0] for synset in lists[1])
    lines = []
    for synset in sorted(set().union(*lists.values())):
        names = lemmas[synset]
        in_1k = synset in lists[1]
        name = ", ".join(names[:2]) if in_1k and shared[names[0]] > 1 else names[0]
        bits = sum(bit for bit, synsets in lists.items() if synset in synsets)
        lines.append(f"{synset} {bits} {CRANES.get(synset, name)}\n")
    for synsets in lists.values():
        assert synsets == sorted(synsets)
    out.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
