"""Whole detectors, small ones: python tools/goldens/detectors.py [OUT_DIR]

Writes OUT_DIR/detectors.safetensors (default tests/goldens/detectors.safetensors), for tests/detector_test.cc: a Mask
R-CNN and a Cascade Mask R-CNN of 4 blocks with formula weights on two pictures of formula_input. The backbone is timm's,
what is around it is written here with torch and torchvision's operators from the definitions in mmdetection's papers
and configurations.

    objects.P.{boxes,classes,masks}         what is on picture P
    K.pyramid.L                             the maps, K "mask_rcnn" or "cascade"
    K.P.{boxes,classes,scores,masks}        detections: masks are probabilities
    K.losses.NAME, K.gradient.PARAMETER     in training, batch norms with the statistics of the batch; more samples
                                            than boxes, so that nothing is drawn
    K.few.NAME                              the losses of few samples, which are drawn, and without an object on the
                                            second picture
"""

import itertools
import pathlib
import sys

import numpy
import timm
import torch
import torchvision
from torch.nn import functional as F

from detection import assigned, sampled
from detector_parts import CLIP, anchors
from formula import formula_input, formula_weights, mix
from golden_file import write_safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]

CLASSES, CHANNELS, HIDDEN, BINS, MASK_BINS = 5, 12, 20, 3, 4
DEPTHS, DIMS = (1, 1, 1, 1), (8, 16, 24, 32)
STRIDES = (4, 8, 16, 32, 64)
SIZES = ((90, 125), (64, 90))  # in an input of 96x128, the second padded to 64x96 by itself
SEED = 11
KEY = 1  # of the draws
EVERY = 100000
FEW = (6, 12)  # anchors and boxes of a picture, where samples are drawn
# The training settings of tests/detector_test.cc.
BEST_TRAIN, KEPT_TRAIN, BEST, KEPT = 80, 60, 70, 40


class Kind:
    def __init__(self, name, stages, convolutions, inside, beta, giou, low_quality):
        self.name, self.stages, self.convolutions, self.inside = name, stages, convolutions, inside
        self.beta, self.giou, self.low_quality = beta, giou, low_quality


MASK_RCNN = Kind("mask_rcnn", ((0.5, 0.1, 0.2, 1.0),), False, False, 0, False, True)
CASCADE = Kind(
    "cascade",
    ((0.5, 0.1, 0.2, 1.0), (0.6, 0.05, 0.1, 0.5), (0.7, 0.033, 0.067, 0.25)),
    True,
    True,
    1 / 9,
    True,
    False,
)


def shapes_of(kind, backbone, dims=DIMS, channels=CHANNELS, hidden=HIDDEN, bins=BINS, classes=CLASSES):
    shapes = {}

    def add(name, shape, bias=True):
        shapes[name + ".weight"] = shape
        if bias:
            shapes[name + ".bias"] = (shape[1] if ".upsample" in name else shape[0],)

    for name, tensor in backbone.state_dict().items():
        if not name.startswith("head"):
            shapes["backbone." + name] = tuple(tensor.shape)
    for i, dim in enumerate(dims):
        add(f"output_norms.{i}", (dim,))
        add(f"pyramid.lateral.{i}", (channels, dim, 1, 1))
        add(f"pyramid.output.{i}", (channels, channels, 3, 3))
    add("proposals.convolution", (channels, channels, 3, 3))
    add("proposals.scores", (3, channels, 1, 1))
    add("proposals.deltas", (12, channels, 1, 1))
    for s in range(len(kind.stages)):
        head = f"box_heads.{s}."
        for i in range(4 if kind.convolutions else 0):
            add(f"{head}convolutions.{i}", (channels, channels, 3, 3), bias=False)
            add(f"{head}norms.{i}", (channels,))
            shapes[f"{head}norms.{i}.running_mean"] = shapes[f"{head}norms.{i}.running_var"] = (channels,)
        add(head + "linears.0", (hidden, channels * bins * bins))
        if not kind.convolutions:
            add(head + "linears.1", (hidden, hidden))
        add(head + "scores", (classes + 1, hidden))
        add(head + "deltas", (4 * classes, hidden))
        head = f"mask_heads.{s}."
        for i in range(4):
            add(f"{head}convolutions.{i}", (channels, channels, 3, 3))
        add(head + "upsample", (channels, channels, 2, 2))
        add(head + "logits", (classes, channels, 1, 1))
    return shapes


def decode(boxes, deltas, centre, size):
    start, end = boxes[:, :2], boxes[:, 2:]
    middle = (start + end) / 2 + (end - start) * deltas[:, :2] * centre
    half = (end - start) * torch.exp((deltas[:, 2:] * size).clamp(-CLIP, CLIP)) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def encode(boxes, objects, centre, size):
    sides, wanted = boxes[:, 2:] - boxes[:, :2], objects[:, 2:] - objects[:, :2]
    moved = ((objects[:, :2] + objects[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) / 2 / sides / centre
    return torch.cat([moved, torch.log(wanted / sides) / size], dim=1)


class Detector:
    def __init__(self, kind):
        self.kind = kind
        self.backbone = timm.create_model("convnext_atto", depths=DEPTHS, dims=DIMS, num_classes=0)
        shapes = shapes_of(kind, self.backbone)
        self.w = {n: torch.from_numpy(v) for n, v in formula_weights(shapes, SEED).items()}
        own = {n.removeprefix("backbone."): v for n, v in self.w.items() if n.startswith("backbone.")}
        self.backbone.load_state_dict({**self.backbone.state_dict(), **own})
        for name, tensor in self.w.items():
            if "running" not in name and not name.startswith("backbone."):
                tensor.requires_grad_()
        for name, parameter in self.backbone.named_parameters():
            self.w["backbone." + name] = parameter

    def conv(self, name, x, padding=0):
        return F.conv2d(x, self.w[name + ".weight"], self.w.get(name + ".bias"), padding=padding)

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def pyramid(self, x):
        maps = []
        x = self.backbone.stem(x)
        for i, stage in enumerate(self.backbone.stages):
            x = stage(x)
            norm = F.layer_norm(
                x.permute(0, 2, 3, 1),
                (DIMS[i],),
                self.w[f"output_norms.{i}.weight"],
                self.w[f"output_norms.{i}.bias"],
                1e-6,
            )
            maps.append(self.conv(f"pyramid.lateral.{i}", norm.permute(0, 3, 1, 2)))
        for i in (2, 1, 0):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode="nearest")
        maps = [self.conv(f"pyramid.output.{i}", m, 1) for i, m in enumerate(maps)]
        return maps + [F.max_pool2d(maps[3], 1, stride=2)]

    def proposal_head(self, maps):
        outputs = []
        for level, m in enumerate(maps):
            hidden = F.relu(self.conv("proposals.convolution", m, 1))
            logits = self.conv("proposals.scores", hidden).permute(0, 2, 3, 1).flatten(1)
            deltas = self.conv("proposals.deltas", hidden).permute(0, 2, 3, 1).reshape(len(logits), -1, 4)
            at = torch.from_numpy(anchors(m.shape[2], m.shape[3], STRIDES[level]))
            outputs.append((logits, deltas, half_sized(at)))
        return outputs

    def propose(self, outputs, picture, best, keep):
        height, width = SIZES[picture]
        boxes, scores = [], []
        for logits, deltas, at in outputs:
            order = logits[picture].sigmoid().sort(descending=True, stable=True).indices[:best]
            decoded = decode(at[order], deltas[picture][order], 1, 1)
            decoded = torchvision.ops.clip_boxes_to_image(decoded, (height, width))
            inside = (decoded[:, 2] > decoded[:, 0]) & (decoded[:, 3] > decoded[:, 1])
            decoded, probability = decoded[inside], logits[picture][order].sigmoid()[inside]
            kept = torchvision.ops.nms(decoded, probability, 0.7)
            boxes.append(decoded[kept])
            scores.append(probability[kept])
        order = torch.cat(scores).sort(descending=True, stable=True).indices[:keep]
        return torch.cat(boxes)[order]

    def pool(self, maps, boxes, bins):
        """boxes: a tensor a picture."""
        rois = torch.cat([F.pad(b, (1, 0), value=float(p)) for p, b in enumerate(boxes)])
        side = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = torch.floor(torch.log2(side / 56 + 1e-6)).clamp(0, 3)
        pooled = torch.zeros(len(rois), CHANNELS, bins, bins)
        for level in range(4):
            mine = torch.nonzero(levels == level)[:, 0]
            if len(mine):
                aligned = torchvision.ops.roi_align(maps[level], rois[mine], bins, 1 / STRIDES[level], -1, True)
                pooled = pooled.index_put((mine,), aligned)
        return pooled

    def box_head(self, stage, pooled, training):
        head = f"box_heads.{stage}."
        if self.kind.convolutions:
            for i in range(4):
                pooled = self.conv(f"{head}convolutions.{i}", pooled, 1)
                norm = [self.w[f"{head}norms.{i}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
                pooled = F.relu(F.batch_norm(pooled, norm[0].clone(), norm[1].clone(), norm[2], norm[3], training))
        hidden = F.relu(self.linear(head + "linears.0", pooled.flatten(1)))
        if not self.kind.convolutions:
            hidden = F.relu(self.linear(head + "linears.1", hidden))
        return self.linear(head + "scores", hidden), self.linear(head + "deltas", hidden).view(-1, CLASSES, 4)

    def mask_head(self, stage, pooled):
        head = f"mask_heads.{stage}."
        for i in range(4):
            pooled = F.relu(self.conv(f"{head}convolutions.{i}", pooled, 1))
        pooled = F.conv_transpose2d(pooled, self.w[head + "upsample.weight"], self.w[head + "upsample.bias"], stride=2)
        return self.conv(head + "logits", F.relu(pooled))

    def refine(self, stage, boxes, classes, deltas):
        """boxes of each picture, flat classes and deltas of all."""
        _, centre, size, _ = self.kind.stages[stage]
        refined, first = [], 0
        for p, b in enumerate(boxes):
            rows = torch.arange(first, first + len(b))
            moved = decode(b, deltas[rows, classes[rows]], centre, size)
            refined.append(torchvision.ops.clip_boxes_to_image(moved, SIZES[p]))
            first += len(b)
        return refined

    @torch.no_grad()
    def detect(self, pictures):
        maps = self.pyramid(pictures)
        outputs = self.proposal_head(maps)
        boxes = [self.propose(outputs, p, BEST, KEPT) for p in range(len(pictures))]
        total = 0
        for s in range(len(self.kind.stages)):
            if s:
                boxes = self.refine(s - 1, boxes, logits[:, :-1].argmax(1), deltas)
            logits, deltas = self.box_head(s, self.pool(maps, boxes, BINS), False)
            total = total + logits
        scores = (total / len(self.kind.stages)).softmax(1)
        _, centre, size, _ = self.kind.stages[-1]
        results, first = [], 0
        for p, b in enumerate(boxes):
            own = scores[first : first + len(b), :CLASSES]
            region, of_class = torch.nonzero(own > 0.05, as_tuple=True)
            moved = decode(b[region], deltas[first + region, of_class], centre, size)
            moved = torchvision.ops.clip_boxes_to_image(moved, SIZES[p])
            values = own[region, of_class]
            kept = torchvision.ops.batched_nms(moved, values, of_class, 0.5)[:30]
            results.append((moved[kept], of_class[kept], values[kept]))
            first += len(b)
        pooled = self.pool(maps, [r[0] for r in results], MASK_BINS)
        masks = sum(self.mask_head(s, pooled).sigmoid() for s in range(len(self.kind.stages))) / len(self.kind.stages)
        first, detections = 0, []
        for b, c, v in results:
            detections.append((b, c, v, masks[torch.arange(first, first + len(b)), c]))
            first += len(b)
        return maps, detections

    def losses(self, pictures, objects, samples=None):
        """`samples`: how many anchors and boxes a picture is learned from; more than there are without."""
        kind, losses = self.kind, {}
        anchor_samples, box_samples = samples or (EVERY, EVERY)
        maps = self.pyramid(pictures)
        outputs = self.proposal_head(maps)
        at = torch.cat([o[2] for o in outputs])
        strides = torch.cat([torch.full((len(o[2]),), stride) for o, stride in zip(outputs, STRIDES)])
        logits, deltas = torch.cat([o[0] for o in outputs], 1), torch.cat([o[1] for o in outputs], 1)
        scores, moves, count = 0, 0, 0
        for p, (boxes, _, _) in enumerate(objects):
            # A place of the map belongs to the picture or to what fills it up to a multiple of 32.
            height, width = (-(-side // 32) * 32 for side in SIZES[p])
            x, y = (at[:, 0] + at[:, 2]) / 2 / strides, (at[:, 1] + at[:, 3]) / 2 / strides
            usable = (x.round() < torch.ceil(width / strides)) & (y.round() < torch.ceil(height / strides))
            if kind.inside:
                usable &= (at[:, :2] >= 0).all(1) & (at[:, 2] < SIZES[p][1]) & (at[:, 3] < SIZES[p][0])
            numbers = torch.nonzero(usable)[:, 0]
            own = torch.from_numpy(assigned(at[numbers].numpy(), boxes.numpy(), 0.7, 0.3, True, 0.3))
            chosen, rest = sampled(own, anchor_samples, 0.5, draws_for(0, p))
            positive, negative = numbers[chosen], numbers[rest]
            print(
                f"{kind.name}: picture {p}: {len(positive)} of {(own >= 0).sum()} anchors of objects, "
                f"{len(negative)} of {(own == -1).sum()} of background"
            )
            scores = scores + F.softplus(-logits[p][positive]).sum() + F.softplus(logits[p][negative]).sum()
            difference = deltas[p][positive] - encode(at[positive], boxes[own[chosen]], 1, 1)
            if kind.beta:
                moves = moves + F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="sum", beta=kind.beta)
            else:
                moves = moves + difference.abs().sum()
            # A picture without the ones or the others counts as if it had one (mmdet/models/dense_heads/anchor_head.py).
            count += max(len(positive), 1) + max(len(negative), 1)
        losses |= {"proposals.scores": scores / count, "proposals.boxes": moves / count}

        with torch.no_grad():
            proposals = [self.propose(outputs, p, BEST_TRAIN, KEPT_TRAIN) for p in range(len(pictures))]
        for s, (overlap, centre, size, weight) in enumerate(kind.stages):
            regions, owners, are_objects = [], [], []
            for p, (boxes, _, _) in enumerate(objects):
                own = assigned(proposals[p].numpy(), boxes.numpy(), overlap, overlap, kind.low_quality, overlap)
                own = torch.cat([torch.arange(len(boxes)), torch.from_numpy(own)])
                every = torch.cat([boxes, proposals[p]])
                chosen, rest = sampled(own, box_samples, 0.25, draws_for(1 + s, p))
                order = torch.tensor(chosen + rest)
                regions.append(every[order])
                owners.append(own[order])
                are_objects.append(order < len(boxes))
                print(
                    f"{kind.name}: stage {s}: picture {p}: {len(chosen)} of {(own >= 0).sum()} boxes of objects, "
                    f"{len(rest)} of {(own == -1).sum()} of background"
                )
            labels = []
            for p, own in enumerate(owners):
                of_class = torch.full((len(own),), CLASSES)
                of_class[own >= 0] = objects[p][1][own[own >= 0]]
                labels.append(of_class)
            label = torch.cat(labels)
            logits, deltas = self.box_head(s, self.pool(maps, regions, BINS), True)
            positive = torch.nonzero(label < CLASSES)[:, 0]
            boxes = torch.cat(regions)[positive]
            wanted = torch.cat([objects[p][0][own[own >= 0]] for p, own in enumerate(owners)])
            predicted = deltas[positive, label[positive]]
            if kind.giou:
                moved = decode(boxes, predicted, centre, size)
                box_loss = 10 * torchvision.ops.generalized_box_iou_loss(moved, wanted, reduction="sum")
            else:
                box_loss = (predicted - encode(boxes, wanted, centre, size)).abs().sum()
            losses[f"stage{s}.scores"] = weight * F.cross_entropy(logits, label)
            losses[f"stage{s}.boxes"] = weight * box_loss / len(label)
            foreground = [b[own >= 0] for b, own in zip(regions, owners)]
            targets = []
            for p, own in enumerate(owners):
                for b, o in zip(foreground[p], own[own >= 0]):
                    roi = torch.cat([torch.zeros(1), b])[None]
                    mask = objects[p][2][o][None, None].float()
                    mean = torchvision.ops.roi_align(mask, roi, 2 * MASK_BINS, 1, -1, True)[0, 0]
                    # A mean of one half would depend on the order of its sum.
                    assert ((mean - 0.5).abs() > 1e-5).all()
                    targets.append(mean >= 0.5)
            masks = self.mask_head(s, self.pool(maps, foreground, MASK_BINS))
            of_class = masks[torch.arange(len(positive)), label[positive]]
            mask_loss = F.binary_cross_entropy_with_logits(of_class, torch.stack(targets).float())
            losses[f"stage{s}.masks"] = weight * mask_loss
            if s + 1 < len(kind.stages):
                with torch.no_grad():
                    classes = torch.where(label < CLASSES, label, logits[:, :-1].argmax(1))
                    refined = self.refine(s, regions, classes, deltas)
                    proposals = [r[~own] for r, own in zip(refined, are_objects)]
        return losses


def draws_for(purpose, picture):
    """The random numbers of a picture in training, as src/train/random.h makes them of a key."""
    state = 0
    for part in (KEY, purpose, picture):
        state = mix(state + part)
    counter = itertools.count()
    return lambda n: ((mix(state + next(counter)) >> 32) * n) >> 32


def half_sized(boxes):
    """Anchors of half the side around the same middles: pictures are small here."""
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return torch.cat([middle - size / 4, middle + size / 4], dim=1)


def ellipse(size, box):
    y, x = numpy.meshgrid(numpy.arange(size[0]) + 0.5, numpy.arange(size[1]) + 0.5, indexing="ij")
    x1, y1, x2, y2 = box
    inside = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 < 1
    return torch.from_numpy(inside.astype(numpy.uint8))


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "goldens"
    torch.set_num_threads(1)
    pictures = torch.from_numpy(formula_input("input", (len(SIZES), 3, 96, 128), SEED) * numpy.float32(8))
    for p, (height, width) in enumerate(SIZES):
        pictures[p, :, height:] = 0
        pictures[p, :, :, width:] = 0
    of_pictures = (
        ([[20.3, 15.2, 55.1, 60.7], [60.6, 20.1, 117.9, 80.4], [5.2, 50.3, 28.7, 85.8]], [0, 3, 1]),
        ([[10.4, 13.4, 81.7, 57.8]], [4]),
    )
    tensors, objects = {}, []
    for p, (boxes, classes) in enumerate(of_pictures):
        masks = torch.stack([ellipse(SIZES[p], box) for box in boxes])
        objects.append((torch.tensor(boxes, dtype=torch.float32), torch.tensor(classes), masks))
        for name, values in zip(("boxes", "classes", "masks"), objects[-1]):
            tensors[f"objects.{p}.{name}"] = values.numpy()
    for kind in (MASK_RCNN, CASCADE):
        detector = Detector(kind)
        maps, detections = detector.detect(pictures)
        for level, m in enumerate(maps):
            tensors[f"{kind.name}.pyramid.{level}"] = m.numpy()
        for p, found in enumerate(detections):
            print(f"{kind.name}: picture {p}: {len(found[0])} detections, scores {found[2][0]:.3f} to {found[2][-1]:.3f}")
            for name, values in zip(("boxes", "classes", "scores", "masks"), found):
                tensors[f"{kind.name}.{p}.{name}"] = values.numpy()
        losses = detector.losses(pictures, objects)
        sum(losses.values()).backward()
        for name, loss in losses.items():
            print(f"{kind.name}: {name} {loss.item():.5f}")
            tensors[f"{kind.name}.losses.{name}"] = loss.detach().reshape(1).numpy()
        # Some of them drawn on the first picture, and none with an object on the second.
        nothing = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, *SIZES[1], dtype=torch.uint8))
        for name, loss in detector.losses(pictures, [objects[0], nothing], FEW).items():
            print(f"{kind.name}: few: {name} {loss.item():.5f}")
            tensors[f"{kind.name}.few.{name}"] = loss.detach().reshape(1).numpy()
        last = f"{len(kind.stages) - 1}"
        for name in (
            "backbone.stem.0.weight",
            "backbone.stages.2.blocks.0.mlp.fc1.weight",
            "output_norms.1.weight",
            "pyramid.lateral.2.weight",
            "pyramid.output.0.weight",
            "proposals.convolution.weight",
            "proposals.deltas.weight",
            f"box_heads.{last}.linears.0.weight",
            f"box_heads.{last}.deltas.weight",
            f"mask_heads.{last}.upsample.weight",
            f"mask_heads.{last}.convolutions.0.weight",
        ):
            tensors[f"{kind.name}.gradient.{name}"] = detector.w[name].grad.numpy()
    tensors = {name: numpy.ascontiguousarray(values) for name, values in tensors.items()}
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    write_safetensors(folder / "detectors.safetensors", tensors, versions)


if __name__ == "__main__":
    main()
