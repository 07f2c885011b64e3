"""Masks and evaluations of pycocotools: tests/goldens/coco/{masks,evaluations}.json.

masks.json holds polygons, boxes and runs with what pycocotools makes of them, and 64-bit FNV-1a hashes over thousands of
masks and overlaps that tests/coco_test.cc draws from the same formula. evaluations.json holds small ground truths and
results, random ones and nasty ones, each with the 12 figures, and hashes of the whole arrays of precision and recall.

Evaluations that are wrong in one thing are made from pycocotools' own source. One that no case tells from the right one
stops the program: such goldens would prove nothing.
"""

import argparse
import contextlib
import copy
import importlib.metadata
import inspect
import io
import json
import pathlib

import numpy
from formula import hash_name, mix, unit_float
from pycocotools import cocoeval
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

SEED = 7


class Numbers:
    """A stream of hashes. tests/coco_test.cc has the same."""

    def __init__(self, name):
        self.key = (hash_name(name) + mix(SEED)) & (2**64 - 1)

    def next(self):
        self.key = (self.key + 1) & (2**64 - 1)
        return mix(self.key)

    def below(self, count):
        return self.next() % count

    def unit(self):
        return float(unit_float(self.next()))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return f"{value:016x}"


# Masks.


def drawn_polygon(numbers, height, width):
    """Corners on the grid, on halves of it and anywhere, inside and around the picture."""
    corners = 3 + numbers.below(8)
    kind = numbers.below(3)
    points = []
    for _ in range(corners):
        for side in (width, height):
            value = numbers.unit() * (1.5 * side) - 0.25 * side
            points.append(float(numpy.floor(value * (1, 2, 1)[kind]) / (1, 2, 1)[kind]) if kind < 2 else value)
    return points


def drawn_bitmap(numbers, height, width):
    """Blobs: a pixel is often that of its neighbour."""
    pixels = numpy.zeros((height, width), dtype=numpy.uint8)
    one = 0
    for x in range(width):
        for y in range(height):
            if numbers.below(4) == 0:
                one = numbers.below(2)
            pixels[y, x] = one
    return pixels


def rle_of_polygons(polygons, height, width):
    return mask_utils.merge(mask_utils.frPyObjects(polygons, height, width))


def text_of(rle):
    return rle["counts"].decode()


def mask_hashes():
    numbers = Numbers("polygons")
    texts, rles = [], []
    for _ in range(3000):
        height, width = 1 + numbers.below(60), 1 + numbers.below(60)
        rle = rle_of_polygons([drawn_polygon(numbers, height, width) for _ in range(1 + numbers.below(2))], height, width)
        texts.append(f"{text_of(rle)} {int(mask_utils.area(rle))} {[int(v) for v in mask_utils.toBbox(rle)]}")
    hashes = {"polygons": fnv("\n".join(texts).encode())}

    numbers = Numbers("bitmaps")
    texts = []
    for _ in range(300):
        pixels = drawn_bitmap(numbers, 1 + numbers.below(20), 1 + numbers.below(20))
        rle = mask_utils.encode(numpy.asfortranarray(pixels))
        assert (mask_utils.decode(rle) == pixels).all()
        texts.append(text_of(rle))
    hashes["bitmaps"] = fnv("\n".join(texts).encode())

    numbers = Numbers("overlaps")
    overlaps, merged = [], []
    for _ in range(60):
        height, width = 5 + numbers.below(30), 5 + numbers.below(30)
        rles = [
            mask_utils.encode(numpy.asfortranarray(drawn_bitmap(numbers, height, width)))
            if numbers.below(2) == 0
            else rle_of_polygons([drawn_polygon(numbers, height, width)], height, width)
            for _ in range(7)
        ]
        crowds = [numbers.below(2) for _ in range(3)]
        overlaps.append(mask_utils.iou(rles[:4], rles[4:], crowds))
        for intersect in (False, True):
            merged.append(text_of(mask_utils.merge(rles[:3], intersect=intersect)))
    hashes["mask_iou"] = fnv(b"".join(numpy.ascontiguousarray(matrix).tobytes() for matrix in overlaps))
    hashes["merged"] = fnv("\n".join(merged).encode())

    numbers = Numbers("boxes")
    overlaps = []
    for _ in range(300):
        boxes = [[numbers.unit() * 20 - 2 for _ in range(4)] for _ in range(7)]
        crowds = [numbers.below(2) for _ in range(3)]
        overlaps.append(mask_utils.iou(boxes[:4], boxes[4:], crowds))
    hashes["box_iou"] = fnv(b"".join(numpy.ascontiguousarray(matrix).tobytes() for matrix in overlaps))

    numbers = Numbers("box masks")
    texts = []
    for _ in range(300):
        box = [numbers.unit() * 40 - 8 for _ in range(4)]
        texts.append(text_of(mask_utils.frPyObjects(numpy.array([box]), 30, 25)[0]))
    hashes["box_masks"] = fnv("\n".join(texts).encode())
    return hashes


def masks():
    shapes = {
        "a square of pixels": [[1, 1, 1, 3, 3, 3, 3, 1]],
        "the whole picture": [[0, 0, 0, 20, 30, 20, 30, 0]],
        "beyond the picture": [[-50, -50, -50, 90, 90, 90, 90, -50]],
        "outside of it": [[-9, 2, -3, 2, -3, 8]],
        "a triangle": [[2.5, 3.5, 20.25, 4.75, 11.125, 17.5]],
        "turned the other way": [[11.125, 17.5, 20.25, 4.75, 2.5, 3.5]],
        "a line": [[2, 2, 20, 12, 2, 2]],
        "a point three times": [[5, 5, 5, 5, 5, 5]],
        "closed by its first point": [[2, 2, 15, 3, 9, 14, 2, 2]],
        "a bow tie": [[2, 2, 20, 15, 20, 2, 2, 15]],
        "two apart": [[1, 1, 6, 1, 6, 6, 1, 6], [12, 9, 20, 9, 20, 16]],
        "two that overlap": [[1, 1, 12, 1, 12, 12, 1, 12], [6, 6, 25, 6, 25, 18, 6, 18]],
        "two that cancel nothing": [[1, 1, 12, 1, 12, 12, 1, 12], [1, 1, 12, 1, 12, 12, 1, 12]],
        "thinner than a pixel": [[3.1, 2, 3.3, 2, 3.3, 15, 3.1, 15]],
        "on the middle of columns": [[2.5, 2.5, 2.5, 8.5, 8.5, 8.5, 8.5, 2.5]],
        "far away": [[-4000.3, 5, 7000.7, 9.2, 12, 6000]],
    }
    polygons = []
    for name, shape in shapes.items():
        rle = rle_of_polygons(shape, 20, 30)
        polygons.append({
            "name": name,
            "polygons": shape,
            "counts": text_of(rle),
            "area": int(mask_utils.area(rle)),
            "bounds": mask_utils.toBbox(rle).tolist(),
        })
    # Runs as files have them, some of length 0.
    runs = []
    for counts in ([600], [0, 600], [5, 0, 595], [0, 1, 598, 1], [19, 2, 579], [300, 17, 0, 3, 280], [595, 5, 0, 0]):
        rle = mask_utils.frPyObjects({"counts": counts, "size": [20, 30]}, 20, 30)
        runs.append({
            "runs": counts,
            "counts": text_of(rle),
            "area": int(mask_utils.area(rle)),
            "bounds": mask_utils.toBbox(rle).tolist(),
        })
    return {"height": 20, "width": 30, "polygons": polygons, "runs": runs, "hashes": mask_hashes()}


# Evaluations.


def rounded(values, digits=2):
    return [round(float(value), digits) for value in values]


def drawn_truth(numbers, pictures, categories, objects, crowds=0.1, outline=None, size=(160, 200)):
    """Ids are not in order, and boxes of every size that counts."""
    height, width = size
    truth = {
        "images": [{"id": 900 - 7 * i, "width": width, "height": height, "file_name": f"{i}.png"} for i in range(pictures)],
        "categories": [{"id": id, "name": f"kind {id}"} for id in categories],
        "annotations": [],
    }
    for image in truth["images"]:
        for _ in range(numbers.below(objects + 1)):
            side = (12, 40, 90)[numbers.below(3)]
            x, y = numbers.unit() * (width - 8), numbers.unit() * (height - 8)
            w, h = 4 + numbers.unit() * side, 4 + numbers.unit() * side
            annotation = {
                "id": 3000 - 11 * len(truth["annotations"]),
                "image_id": image["id"],
                "category_id": categories[numbers.below(len(categories))],
                "bbox": rounded([x, y, w, h], 1),
                "area": round(w * h * (0.6 + 0.4 * numbers.unit()), 1),
                "iscrowd": int(numbers.unit() < crowds),
            }
            if outline:
                annotation["segmentation"] = outline(numbers, annotation, height, width)
            truth["annotations"].append(annotation)
    return truth


def drawn_outline(numbers, annotation, height, width):
    x, y, w, h = annotation["bbox"]
    kind = numbers.below(4)
    if annotation["iscrowd"] or kind == 3:
        pixels = numpy.zeros((height, width), dtype=numpy.uint8, order="F")
        pixels[int(y) : int(y + h), int(x) : int(x + w)] = 1
        rle = mask_utils.encode(pixels)
        if numbers.below(2) == 0:
            return {"size": [height, width], "counts": text_of(rle)}
        flat = pixels.flatten(order="F")
        ends = numpy.flatnonzero(numpy.diff(flat)) + 1
        counts = numpy.diff(numpy.concatenate([[0], ends, [len(flat)]])).tolist()
        return {"size": [height, width], "counts": ([0] if flat[0] else []) + counts}
    corners = rounded([x, y + h / 2, x + w / 3, y, x + w, y + h / 3, x + w / 2, y + h], 1)
    if kind == 0:
        return [corners, rounded([x, y, x + w / 4, y, x, y + h / 4], 1)]
    return [corners]


def drawn_results(numbers, truth, times=1.5, levels=20, others=True):
    """Objects moved a little, some of another kind, some nowhere near; many scores alike."""
    results = []
    categories = [category["id"] for category in truth["categories"]]
    by_image = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in truth["images"]:
        for annotation in by_image[image["id"]]:
            for _ in range(numbers.below(int(2 * times) + 1)):
                x, y, w, h = annotation["bbox"]
                shift = 0.35 * numbers.unit() ** 2
                box = [x + shift * w * (numbers.unit() - 0.5), y + shift * h, w * (1 - shift * numbers.unit()), h]
                if numbers.below(6) == 0:
                    box = [x, y, w, h]
                category = annotation["category_id"]
                if others and numbers.below(8) == 0:
                    category = categories[numbers.below(len(categories))]
                results.append({
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": rounded(box, 1),
                    "score": round(numbers.below(levels) / levels, 3),
                })
        for _ in range(numbers.below(3)):
            results.append({
                "image_id": image["id"],
                "category_id": categories[numbers.below(len(categories))],
                "bbox": rounded([numbers.unit() * 150, numbers.unit() * 120, 3 + numbers.unit() * 60, 3 + numbers.unit() * 60], 1),
                "score": round(numbers.below(levels) / levels, 3),
            })
    return results


def with_masks(numbers, truth, results, keep_boxes):
    height, width = truth["images"][0]["height"], truth["images"][0]["width"]
    masked = []
    for result in results:
        corners = drawn_outline(numbers, {"bbox": result["bbox"], "iscrowd": 0}, height, width)
        if isinstance(corners, list):
            rle = rle_of_polygons(corners, height, width)
        else:
            rle = mask_utils.frPyObjects(corners, height, width) if isinstance(corners["counts"], list) else corners
        counts = rle["counts"] if isinstance(rle["counts"], str) else text_of(rle)
        entry = dict(result, segmentation={"size": [height, width], "counts": counts})
        if not keep_boxes:
            del entry["bbox"]
        masked.append(entry)
    return masked


def cases():
    numbers = Numbers("evaluations")
    truth = drawn_truth(numbers, 14, [3, 1, 90, 17], 7)
    results = drawn_results(numbers, truth)
    yield "random boxes", truth, results, ["bbox"]

    masked = drawn_truth(numbers, 9, [5, 2, 8], 6, crowds=0.2, outline=drawn_outline)
    found = drawn_results(numbers, masked)
    yield "random masks", masked, with_masks(numbers, masked, found, keep_boxes=False), ["segm", "bbox"]
    yield "masks with boxes", masked, with_masks(numbers, masked, found, keep_boxes=True), ["segm", "bbox"]
    yield "boxes taken for masks", masked, found, ["segm"]

    few = drawn_truth(numbers, 3, [1, 2], 3)
    yield "no detections", few, [], ["bbox"]
    yield "no objects", dict(few, annotations=[]), drawn_results(numbers, few), ["bbox"]
    yield "no categories", dict(few, categories=[]), [dict(entry, category_id=1) for entry in drawn_results(numbers, few)], ["bbox"]
    yield "an empty category", dict(few, categories=few["categories"] + [{"id": 70, "name": "nothing"}]), (
        drawn_results(numbers, few) + [{"image_id": few["images"][0]["id"], "category_id": 70, "bbox": [1, 1, 9, 9], "score": 0.5}]
    ), ["bbox"]
    unknown = copy.deepcopy(few)
    unknown["annotations"].append({"id": 1, "image_id": 4711, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0})
    unknown["annotations"].append({"id": 2, "image_id": 900, "category_id": 4, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0})
    yield "pictures and categories that nobody has", unknown, (
        [{"image_id": 900, "category_id": 4, "bbox": [1, 1, 9, 9], "score": 0.5}] + drawn_results(numbers, few)
    ), ["bbox"]

    many = drawn_truth(numbers, 2, [1], 9, crowds=0.0)
    crowd_of_results = [
        {
            "image_id": image["id"],
            "category_id": 1,
            "bbox": rounded([numbers.unit() * 60, numbers.unit() * 60, 20, 20], 0),
            "score": numbers.below(10) / 10,
        }
        for image in many["images"]
        for _ in range(118)
    ]
    yield "more than a hundred", many, crowd_of_results + drawn_results(numbers, many, levels=10), ["bbox"]

    ties = drawn_truth(numbers, 6, [1], 5, crowds=0.0)
    yield "all scores alike", ties, [dict(entry, score=0.5) for entry in drawn_results(numbers, ties)], ["bbox"]

    def objects(rows):
        return [
            {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": area, "iscrowd": crowd, **more}
            for i, (box, area, crowd, more) in enumerate(rows)
        ]

    def found_at(rows):
        return [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in rows]

    one = {"images": [{"id": 1, "width": 300, "height": 300}], "categories": [{"id": 1, "name": "thing"}]}
    yield "a crowd takes many", dict(one, annotations=objects([
        ([0, 0, 100, 100], 10000, 1, {}),
        ([10, 10, 20, 20], 400, 0, {}),
        ([150, 0, 40, 40], 1600, 0, {"ignore": 1}),
    ])), found_at([
        ([10, 10, 20, 20], 0.9), ([10, 10, 20, 20], 0.8), ([60, 60, 30, 30], 0.7), ([90, 90, 20, 20], 0.6),
        ([90, 40, 20, 20], 0.55), ([80, 40, 30, 30], 0.5), ([150, 0, 40, 40], 0.4), ([250, 250, 9, 9], 0.3),
    ]), ["bbox"]
    yield "ignored ones come last", dict(one, annotations=objects([
        ([0, 0, 40, 40], 99999, 1, {}),
        ([1, 0, 40, 40], 1000, 0, {}),
        ([0, 1, 40, 40], 5000, 0, {}),
        ([0, 0, 41, 40], 20000, 0, {}),
    ])), found_at([([0, 0, 40, 40], 0.9), ([0, 0, 40, 41], 0.9), ([1, 1, 40, 40], 0.5), ([2, 0, 40, 40], 0.4)]), ["bbox"]
    yield "areas on the bounds", dict(one, annotations=objects([
        ([0, 0, 32, 32], 1024, 0, {}),
        ([100, 0, 96, 96], 9216, 0, {}),
        ([0, 100, 10, 10], 0, 0, {}),
        ([100, 100, 10, 10], 1e10, 0, {}),
        ([200, 100, 10, 10], -5, 0, {}),
    ])), found_at([
        ([0, 0, 32, 32], 0.9), ([100, 0, 96, 96], 0.8), ([0, 100, 10, 10], 0.7), ([100, 100, 10, 10], 0.6),
        ([200, 100, 10, 10], 0.5), ([200, 200, 32, 32], 0.4), ([200, 200, 96, 96], 0.3), ([0, 200, 31.9, 32], 0.2),
    ]), ["bbox"]
    yield "overlaps of just a threshold", dict(one, annotations=objects([
        ([0, 0, 10, 10], 100, 0, {}), ([0, 0, 20, 10], 200, 0, {}), ([100, 0, 10, 20], 200, 0, {}),
        ([200, 0, 10, 10], 100, 0, {}), ([0, 0, 20, 10], 200, 0, {}),
    ])), found_at([
        ([0, 0, 10, 5], 0.9), ([0, 0, 10, 10], 0.9), ([100, 0, 10, 15], 0.8), ([200, 0, 10, 10], 0.7), ([0, 0, 20, 10], 0.6),
    ]), ["bbox"]
    yield "one object twice as good", dict(one, annotations=objects([
        ([0, 0, 10, 10], 100, 0, {}), ([0, 0, 10, 10], 100, 0, {}), ([0, 0, 10, 10], 2000, 0, {}),
    ])), found_at([([0, 0, 10, 10], 0.9), ([0, 0, 10, 9], 0.9), ([0, 0, 9, 9], 0.9), ([0, 0, 10, 6], 0.1)]), ["bbox"]
    numbered_from_0 = dict(one, annotations=[
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [40 * i, 0, 30, 30], "area": 900, "iscrowd": 0} for i in range(3)
    ])
    yield "ids from 0", numbered_from_0, found_at([([40 * i, 0, 30, 29], 0.9 - 0.1 * i) for i in range(3)]), ["bbox"]
    yield "boxes without area", dict(one, annotations=objects([
        ([10, 10, 0, 10], 0, 0, {}), ([10, 10, 20, 20], 400, 0, {}), ([50, 50, -20, -20], 400, 0, {}),
    ])), found_at([
        ([10, 10, 0, 10], 0.9), ([10, 10, 20, 20], 0.8), ([50, 50, -20, -20], 0.7), ([500, -500, 20, 20], 0.6),
    ]), ["bbox"]


# pycocotools' evaluation with one thing changed: what stands in its source, and what is put there. Fewer than all places
# are changed where a number tells which.
WRONG = {
    "ties in another order": [("kind='mergesort'", "kind='reversed'")],
    "equal overlaps do not count": [("if ious[dind,gind] < iou:", "if ious[dind,gind] <= iou:")],
    "crowds overlap as objects do": [("iscrowd = [int(o['iscrowd']) for o in gt]\n        ious =", "iscrowd = [0 for o in gt]\n        ious =")],
    "a crowd is found once": [("if gtm[tind,gind]>0 and not iscrowd[gind]:", "if gtm[tind,gind]>0:")],
    "an object is found twice": [("if gtm[tind,gind]>0 and not iscrowd[gind]:", "if False:")],
    "ignored objects are looked at, too": [("if m>-1 and gtIg[m]==0 and gtIg[gind]==1:", "if False:")],
    "ignored objects are not sorted last": [("gtind = np.argsort([g['_ignore'] for g in gt], kind='mergesort')", "gtind = np.arange(len(gt))")],
    "crowds must be found": [("if g['ignore'] or (g", "if (g")],
    "'ignore' is heeded": [("gt['ignore'] = 'iscrowd' in gt and gt['iscrowd']", "gt['ignore'] = gt['ignore'] or gt['iscrowd']")],
    "bounds of areas are outside": [("g['area']<aRng[0] or g['area']>aRng[1]", "g['area']<=aRng[0] or g['area']>=aRng[1]")],
    "large detections are never ignored": [("d['area']<aRng[0] or d['area']>aRng[1]", "d['area']<aRng[0]")],
    "areas of objects are those of boxes": [("(g['area']<aRng[0] or g['area']>aRng[1])", "(g['bbox'][2]*g['bbox'][3]<aRng[0] or g['bbox'][2]*g['bbox'][3]>aRng[1])")],
    "all detections of a picture count": [("dtind[0:maxDet]", "dtind"), ("if len(dt) > p.maxDets[-1]:", "if False:"), ("[0:maxDet]", "[:]"), ("[:,0:maxDet]", "")],
    "precision is not made monotone": [("if pr[i] > pr[i-1]:", "if False:")],
    "recalls are searched from the right": [("side='left'", "side='right'")],
    "no spacing in precision": [("(fp+tp+np.spacing(1))", "np.maximum(fp+tp, 1e-300)")],
    "every detection of a picture with an ignored object counts": [("dtIg[tind,dind] = gtIg[m]", "dtIg[tind,dind] = 0")],
    "the id 0 is like others": [("dtm[tind,dind]  = gt[m]['id']", "dtm[tind,dind]  = gt[m]['id'] + 1")],
}


class ReversedSort:
    """numpy with a mergesort that turns ties around when it is asked to."""

    def __getattr__(self, name):
        return getattr(numpy, name)

    @staticmethod
    def argsort(values, kind):
        values = numpy.asarray(values)
        if kind == "reversed" and len(values):
            return numpy.lexsort((-numpy.arange(len(values)), values))
        return numpy.argsort(values, kind="mergesort")


def wrong_evaluation(changes):
    source = inspect.getsource(cocoeval)
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    names = {"__package__": "pycocotools", "__name__": "pycocotools.wrong"}
    exec(compile(source, "wrong", "exec"), names)
    names["np"] = ReversedSort()
    return names["COCOeval"]


def load(truth, results, mask_areas=False):
    ground = COCO()
    ground.dataset = copy.deepcopy(truth)
    ground.createIndex()
    if results:
        found = ground.loadRes(copy.deepcopy(results))
        if mask_areas:
            for entry in found.dataset["annotations"]:
                entry["area"] = int(mask_utils.area(found.annToRLE(entry)))
    else:
        # loadRes() looks at the first entry, so it stumbles over an empty list.
        found = COCO()
        found.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": []}
        found.createIndex()
    return ground, found


def evaluate(truth, results, kind, evaluation=cocoeval.COCOeval, mask_areas=False):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run = evaluation(*load(truth, results, mask_areas), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {
        "stats": [float(stat) for stat in run.stats],
        "precision": fnv(numpy.ascontiguousarray(run.eval["precision"]).tobytes()),
        "recall": fnv(numpy.ascontiguousarray(run.eval["recall"]).tobytes()),
        "printed": [line for line in printed.getvalue().splitlines() if "@[" in line],
    }


def evaluations():
    all_cases = list(cases())
    written = []
    expected = {}
    for name, truth, results, kinds in all_cases:
        for kind in kinds:
            expected[name, kind] = evaluate(truth, results, kind)
        written.append({
            "name": name,
            "truth": truth,
            "results": results,
            "expected": {kind: expected[name, kind] for kind in kinds},
        })

    wrong = {name: dict(evaluation=wrong_evaluation(changes)) for name, changes in WRONG.items()}
    wrong["areas of detections are those of masks"] = dict(mask_areas=True)
    for name, changed in wrong.items():
        told_apart = []
        for case, truth, results, kinds in all_cases:
            for kind in kinds:
                outcome = evaluate(truth, results, kind, **changed)
                if any(outcome[part] != expected[case, kind][part] for part in ("precision", "recall")):
                    told_apart.append(case)
        if not told_apart:
            raise SystemExit(f"coco: no case tells this from the right evaluation: {name}")
        print(f"{name}: {', '.join(dict.fromkeys(told_apart))}")
    return {"thresholds": cocoeval.Params().iouThrs.tolist(), "recalls": cocoeval.Params().recThrs.tolist(), "cases": written}


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description="Write tests/goldens/coco.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    arguments = parser.parse_args()
    folder = arguments.out / "coco"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "masks.json", masks())
    write(folder / "evaluations.json", evaluations())
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pycocotools")}
    write(folder / "versions.json", versions)


if __name__ == "__main__":
    main()
