"""What a detector makes of its heads' numbers, and what it learns from: python tools/goldens/detector_parts.py [OUT_DIR]

Writes OUT_DIR/detector_parts.safetensors (default tests/goldens/detector_parts.safetensors), for
tests/detector_parts_test.cc and tests/detector_test.cc:

    coding.{from,to,deltas}, coding.U.{encoded,decoded}    torchvision's BoxCoder, weights 1 / units; U the stage
    coding.{extreme,extreme_decoded}                       changes beyond the bound, by the formula in NumPy
    propose.L.{anchors,logits,deltas}, propose.kept        torchvision's decode, clip and nms within each of the levels L
    level.{boxes,levels}                                   floor(log2(sqrt(area) / 56 + 1e-6)), in NumPy
    target.{mask,boxes,means}                              torchvision.ops.roi_align of a mask, aligned
    select.{boxes,scores}, select.{kept,classes,best}      torchvision.ops.batched_nms over classes
    giou.{predicted,target,losses,gradient}                torchvision.ops.generalized_box_iou_loss
    smooth.{difference,losses}                             torch's smooth_l1_loss, beta 1/9
"""

import pathlib
import sys

import numpy
import torch
import torchvision
from torchvision.models.detection._utils import BoxCoder

from formula import formula_input
from golden_file import write_safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIP = 4.135166556742356


def draws(name, count):
    """Uniform in [0, 1), float32."""
    return (formula_input(name, (count,), 5) * numpy.float32(2) + numpy.float32(0.5)).astype(numpy.float32)


def normal(name, count):
    """Nearly: a sum of uniform numbers, float32, deviation 1."""
    return sum(draws(f"{name}.{i}", count) - numpy.float32(0.5) for i in range(12)).astype(numpy.float32)


def random_boxes(name, count, side, largest):
    corners = draws(name + ".corner", 2 * count).reshape(count, 2) * numpy.float32(side)
    sizes = draws(name + ".size", 2 * count).reshape(count, 2) * numpy.float32(largest) + numpy.float32(1)
    return numpy.concatenate([corners, corners + sizes], axis=1).astype(numpy.float32)


def coder(centre, size):
    return BoxCoder((1 / centre, 1 / centre, 1 / size, 1 / size), CLIP)


def coding(tensors):
    boxes, objects = random_boxes("from", 40, 100, 80), random_boxes("to", 40, 100, 80)
    deltas = normal("coding", 160).reshape(40, 4)
    tensors |= {"coding.from": boxes, "coding.to": objects, "coding.deltas": deltas}
    b, o, d = (torch.from_numpy(a) for a in (boxes, objects, deltas))
    for stage, units in enumerate(((1.0, 1.0), (0.1, 0.2), (0.05, 0.1), (0.033, 0.067))):
        tensors[f"coding.{stage}.encoded"] = coder(*units).encode([o], [b])[0].numpy()
        tensors[f"coding.{stage}.decoded"] = coder(*units).decode(d, [b])[:, 0].numpy()
    # torchvision bounds growth alone.
    extreme = deltas.copy()
    extreme[:, 2:] *= numpy.float32(20)
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    w, h = (boxes[:, 2:] - boxes[:, :2]).T
    dx, dy, dw, dh = extreme.astype(numpy.float64).T * numpy.array([[0.1], [0.1], [0.2], [0.2]])
    x, y = x + w * dx, y + h * dy
    w, h = w * numpy.exp(numpy.clip(dw, -CLIP, CLIP)), h * numpy.exp(numpy.clip(dh, -CLIP, CLIP))
    assert (dw < -CLIP).any() and (dw > CLIP).any()
    decoded = numpy.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1).astype(numpy.float32)
    tensors |= {"coding.extreme": extreme, "coding.extreme_decoded": decoded}


def anchors(height, width, stride):
    ratios = numpy.array([0.5, 1, 2], dtype=numpy.float32)
    h, w = numpy.sqrt(ratios), 1 / numpy.sqrt(ratios)
    half = numpy.stack([-w, -h, w, h], axis=1) * numpy.float32(stride * 8 / 2)
    y, x = numpy.meshgrid(numpy.arange(height), numpy.arange(width), indexing="ij")
    centres = numpy.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(numpy.float32) * stride
    return (centres + half).reshape(-1, 4).astype(numpy.float32)


def propose(tensors):
    height, width = 90, 125
    boxes, scores, groups = [], [], []
    for level, stride in enumerate((8, 16, 32)):
        at = anchors(-(-height // stride), -(-width // stride), stride)
        logits, deltas = normal(f"logits{level}", len(at)), normal(f"deltas{level}", 4 * len(at)).reshape(-1, 4)
        deltas *= numpy.float32(0.3)
        logits[5:9] = logits[4]  # ties
        tensors |= {f"propose.{level}.anchors": at, f"propose.{level}.logits": logits}
        tensors[f"propose.{level}.deltas"] = deltas
        probability = torch.from_numpy(logits).sigmoid()
        best = probability.sort(descending=True, stable=True).indices[:60]
        decoded = coder(1, 1).decode(torch.from_numpy(deltas), [torch.from_numpy(at)])[:, 0]
        decoded = torchvision.ops.clip_boxes_to_image(decoded, (height, width))[best]
        inside = (decoded[:, 2] > decoded[:, 0]) & (decoded[:, 3] > decoded[:, 1])
        decoded, probability = decoded[inside], probability[best][inside]
        kept = torchvision.ops.nms(decoded, probability, 0.7)
        boxes.append(decoded[kept])
        scores.append(probability[kept])
    boxes, scores = torch.cat(boxes), torch.cat(scores)
    order = scores.sort(descending=True, stable=True).indices[:50]
    assert len(order) == 50
    tensors["propose.kept"] = boxes[order].numpy()


def level(tensors):
    boxes = random_boxes("level", 60, 100, 900)
    sides = [1, 55, 56, 111.99, 112, 224, 448, 2000]
    boxes = numpy.concatenate([boxes, numpy.array([[3, 4, 3 + s, 4 + s] for s in sides], dtype=numpy.float32)])
    area = numpy.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    levels = numpy.floor(numpy.log2(numpy.sqrt(area) / numpy.float32(56) + numpy.float32(1e-6)))
    tensors |= {"level.boxes": boxes, "level.levels": numpy.clip(levels, 0, 3).astype(numpy.int64)}


def target(tensors):
    y, x = numpy.meshgrid(numpy.arange(48), numpy.arange(64), indexing="ij")
    mask = (((x - 30) / 20.0) ** 2 + ((y - 22) / 15.0) ** 2 < 1).astype(numpy.uint8)
    mask[10:14, 5:60] = 1
    boxes = numpy.concatenate(
        [
            random_boxes("target", 12, 40, 30),
            numpy.array([[0, 0, 64, 48], [-5, -5, 30, 30], [30, 20, 30.5, 20.5]], dtype=numpy.float32),
        ]
    )
    rois = torch.cat([torch.zeros(len(boxes), 1), torch.from_numpy(boxes)], dim=1)
    bins = torchvision.ops.roi_align(torch.from_numpy(mask)[None, None].float(), rois, 28, 1.0, -1, True)
    tensors |= {"target.mask": mask, "target.boxes": boxes, "target.means": bins[:, 0].numpy()}


def select(tensors):
    regions, classes = 80, 3
    boxes = random_boxes("select", regions * classes, 60, 50)
    scores = torch.from_numpy(normal("select", regions * (classes + 1)).reshape(regions, classes + 1) * 2).softmax(1)
    tensors |= {"select.boxes": boxes, "select.scores": scores.numpy()}
    region, of_class = torch.nonzero(scores[:, :classes] > 0.2, as_tuple=True)
    candidates = torch.from_numpy(boxes).view(regions, classes, 4)[region, of_class]
    values = scores[region, of_class]
    kept = torchvision.ops.batched_nms(candidates, values, of_class, 0.5)[:25]
    assert len(kept) == 25
    tensors["select.kept"] = candidates[kept].numpy()
    tensors["select.classes"] = of_class[kept].numpy()
    tensors["select.best"] = values[kept].numpy()


def losses(tensors):
    predicted, objects = random_boxes("predicted", 30, 60, 50), random_boxes("object", 30, 60, 50)
    predicted[0] = objects[0]
    predicted[1] = objects[1] + numpy.float32(500)
    p = torch.from_numpy(predicted).requires_grad_()
    values = torchvision.ops.generalized_box_iou_loss(p, torch.from_numpy(objects))
    values.sum().backward()
    tensors |= {"giou.predicted": predicted, "giou.target": objects, "giou.losses": values.detach().numpy()}
    tensors["giou.gradient"] = p.grad.numpy()
    difference = normal("smooth", 40) * numpy.float32(0.2)
    d = torch.from_numpy(difference)
    smooth = torch.nn.functional.smooth_l1_loss(d, torch.zeros_like(d), beta=1 / 9, reduction="none")
    tensors |= {"smooth.difference": difference, "smooth.losses": smooth.numpy()}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "goldens"
    tensors = {}
    for part in (coding, propose, level, target, select, losses):
        part(tensors)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__}
    write_safetensors(folder / "detector_parts.safetensors", tensors, versions)


if __name__ == "__main__":
    main()
