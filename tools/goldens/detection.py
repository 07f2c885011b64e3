"""The parts of a detector that are no network: python tools/goldens/detection.py [OUT_DIR]

Writes OUT_DIR/detection.safetensors (default tests/goldens/detection.safetensors), for tests/detection_test.cc:

    nms.{boxes,scores,groups}, nms.kept_T, nms.kept_in_groups_T    torchvision.ops.nms and batched_nms at threshold T
    align.regions, align.B_S.{out,gradient}                        torchvision.ops.roi_align, aligned, adaptive, and its
                                                                   gradient for given gradients of its output; B bins, scale S
    paste.{masks,boxes}, paste.pictures                            torch's grid_sample at the middles of the pixels
    anchors.S                                                      by the formula of mmdet's AnchorGenerator, in NumPy
    assign.{boxes,objects}, assign.{proposals,heads}               by that of its MaxIoUAssigner, in NumPy
    sample.draws, sample.C.{assigned,positive,negative}            of a balanced sample whose draws are given

Maps and gradients come from formula.py by the names that the tests use.
"""

import pathlib
import sys

import numpy
import torch
import torchvision

from formula import formula_input
from golden_file import write_safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]


def draws(name, count):
    """Uniform in [0, 1), float32."""
    return (formula_input(name, (count,), 3) * numpy.float32(2) + numpy.float32(0.5)).astype(numpy.float32)


def random_boxes(name, count, side, largest):
    corners = draws(name + ".corner", 2 * count).reshape(count, 2) * numpy.float32(side)
    sizes = draws(name + ".size", 2 * count).reshape(count, 2) * numpy.float32(largest)
    return numpy.concatenate([corners, corners + sizes], axis=1).astype(numpy.float32)


def nms(tensors):
    boxes = random_boxes("nms", 120, 100, 60)
    boxes[7] = boxes[3]  # twice the same box
    boxes[11, 2:] = boxes[11, :2]  # without area
    boxes[12] = [0, 0, 10, 10]  # overlaps the next by a third exactly
    boxes[13] = [5, 0, 15, 10]
    scores = draws("nms.scores", 120)
    scores[20:40] = numpy.round(scores[20:40] * 4) / 4  # ties
    scores[7] = scores[3]
    groups = (draws("nms.groups", 120) * 4).astype(numpy.int64)
    tensors |= {"nms.boxes": boxes, "nms.scores": scores, "nms.groups": groups}
    b, s, g = (torch.from_numpy(a) for a in (boxes, scores, groups))
    for threshold in (0.0, 0.3, 0.5, 0.7):
        tensors[f"nms.kept_{threshold}"] = torchvision.ops.nms(b, s, threshold).numpy()
        kept = [torch.nonzero(g == i)[:, 0][torchvision.ops.nms(b[g == i], s[g == i], threshold)] for i in range(4)]
        kept = torch.cat(kept).sort().values
        tensors[f"nms.kept_in_groups_{threshold}"] = kept[s[kept].sort(stable=True, descending=True).indices].numpy()


def align(tensors):
    regions = numpy.concatenate(
        [
            random_boxes("align", 24, 90, 70) - numpy.float32(12),
            numpy.array(
                [
                    [0, 0, 104, 72],  # the whole map
                    [10, 10, 10, 10],  # without area
                    [20, 20, 12, 8],  # turned inside out
                    [-80, -90, -40, -60],  # beyond it
                    [100, 68, 140, 110],  # over its corner
                    [3.5, 4.25, 3.75, 60],  # a sliver
                    [-200, -200, 400, 300],  # all around it
                ],
                dtype=numpy.float32,
            ),
        ]
    )
    pictures = numpy.arange(len(regions), dtype=numpy.float32)[:, None] % 2
    rois = torch.from_numpy(numpy.concatenate([pictures, regions], axis=1))
    tensors["align.regions"] = rois.numpy()
    for bins, stride in ((7, 8), (4, 4), (1, 16)):
        height, width = 72 // stride, 104 // stride
        features = torch.from_numpy(formula_input("map", (2, 5, height, width), 1)).requires_grad_()
        out = torchvision.ops.roi_align(features, rois, bins, 1 / stride, sampling_ratio=-1, aligned=True)
        gradient = torch.from_numpy(formula_input("gradient", tuple(out.shape), 2))
        out.backward(gradient)
        name = f"align.{bins}_{stride}"
        tensors[name + ".out"] = out.detach().permute(0, 2, 3, 1).contiguous().numpy()
        tensors[name + ".gradient"] = features.grad.permute(0, 2, 3, 1).contiguous().numpy()


def paste(tensors):
    height, width, side = 40, 56, 14
    boxes = numpy.array(
        [[5.5, 4.25, 30, 33], [-10, -6, 20, 15], [40, 20, 90, 70], [0, 0, 56, 40], [20, 20, 21.5, 20.5], [60, 3, 70, 9]],
        dtype=numpy.float32,
    )
    masks = (formula_input("masks", (len(boxes), side, side), 4) * 2 + 0.5).astype(numpy.float32)
    masks[1] = 1
    y = torch.arange(height, dtype=torch.float32) + 0.5
    x = torch.arange(width, dtype=torch.float32) + 0.5
    pictures = []
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        gy, gx = torch.meshgrid((y - y1) / (y2 - y1) * 2 - 1, (x - x1) / (x2 - x1) * 2 - 1, indexing="ij")
        grid = torch.stack([gx, gy], dim=-1)[None]
        pasted = torch.nn.functional.grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)
        pictures.append((pasted[0, 0] >= 0.5).numpy().astype(numpy.uint8))
    tensors |= {"paste.masks": masks, "paste.boxes": boxes, "paste.pictures": numpy.stack(pictures)}


def overlaps(boxes, objects):
    boxes, objects = boxes[:, None], objects[None]
    size = numpy.minimum(boxes[..., 2:], objects[..., 2:]) - numpy.maximum(boxes[..., :2], objects[..., :2])
    shared = numpy.prod(numpy.maximum(size, 0), axis=-1)
    areas = [numpy.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (boxes, objects)]
    return shared / numpy.maximum(areas[0] + areas[1] - shared, numpy.float32(1e-6))


def assigned(boxes, objects, positive, negative, low_quality, least):
    """Object of each box, -1 for background, -2 for neither."""
    if not len(objects):
        return numpy.full(len(boxes), -1)
    iou = overlaps(boxes, objects)
    best = iou.max(axis=1)
    result = numpy.full(len(boxes), -2)
    result[best < negative] = -1
    result[best >= positive] = iou.argmax(axis=1)[best >= positive]
    for o in range(len(objects) if low_quality else 0):
        if iou[:, o].max() >= least:
            result[iou[:, o] == iou[:, o].max()] = o
    return result.astype(numpy.int64)


def drawn(numbers, count, draw):
    """`count` of `numbers`, ascending; `draw(n)` gives a number below n. The first of those that are left takes the
    place of the one that is drawn."""
    numbers, taken = list(numbers), []
    if len(numbers) <= count:
        return numbers
    for _ in range(count):
        at = draw(len(numbers))
        taken.append(numbers[at])
        numbers[at] = numbers[0]
        del numbers[0]
    return sorted(taken)


def sampled(own, count, share, draw):
    """Numbers of the boxes with an object and of those of background that the losses are of."""
    positive = drawn([i for i, o in enumerate(own) if o >= 0], int(count * share), draw)
    return positive, drawn([i for i, o in enumerate(own) if o == -1], count - len(positive), draw)


def sample(tensors):
    numbers = (draws("sample", 512) * 10000).astype(numpy.int64)
    own = (draws("sample.assigned", 300) * 7).astype(numpy.int64) - 2
    background = numpy.where(own >= 0, -1, own)
    objects = numpy.where(own == -1, 2, own)
    few = background.copy()
    few[[3, 50, 51]] = [4, 0, 1]
    cases = {
        "both": (own, 64, 0.5),
        "quarter": (own, 50, 0.25),  # 12 of 50
        "few_objects": (few, 64, 0.25),
        "no_objects": (background, 32, 0.5),
        "no_background": (objects, 64, 0.25),
        "all": (own[:40], 256, 0.5),
    }
    tensors["sample.draws"] = numbers
    for name, (of_case, count, share) in cases.items():
        rest = iter(numbers.tolist())
        positive, negative = sampled(of_case, count, share, lambda n: next(rest) % n)
        print(f"sample.{name}: {len(positive)} of {(of_case >= 0).sum()}, {len(negative)} of {(of_case == -1).sum()}")
        tensors[f"sample.{name}.assigned"] = of_case
        tensors[f"sample.{name}.positive"] = numpy.array(positive, dtype=numpy.int64)
        tensors[f"sample.{name}.negative"] = numpy.array(negative, dtype=numpy.int64)


def anchors(height, width, stride):
    ratios = numpy.array([0.5, 1, 2], dtype=numpy.float32)
    h, w = numpy.sqrt(ratios), 1 / numpy.sqrt(ratios)
    half = numpy.stack([-w, -h, w, h], axis=1) * numpy.float32(stride * 8 / 2)
    y, x = numpy.meshgrid(numpy.arange(height), numpy.arange(width), indexing="ij")
    centres = numpy.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(numpy.float32) * stride
    return (centres + half).reshape(-1, 4).astype(numpy.float32)


def assign(tensors):
    objects = numpy.array([[10, 10, 60, 70], [12, 8, 58, 66], [70, 5, 90, 30], [3, 80, 8, 86]], dtype=numpy.float32)
    boxes = numpy.concatenate([random_boxes("assign", 200, 80, 70), objects[:1], anchors(6, 6, 4)])
    tensors |= {"assign.boxes": boxes, "assign.objects": objects}
    tensors["assign.proposals"] = assigned(boxes, objects, 0.7, 0.3, True, 0.3)
    tensors["assign.heads"] = assigned(boxes, objects, 0.5, 0.5, False, 0.5)
    for stride in (4, 64):
        tensors[f"anchors.{stride}"] = anchors(3, 5, stride)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "goldens"
    tensors = {}
    for part in (nms, align, paste, assign, sample):
        part(tensors)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__}
    write_safetensors(folder / "detection.safetensors", tensors, versions)


if __name__ == "__main__":
    main()
