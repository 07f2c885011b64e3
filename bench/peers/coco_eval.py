"""COCO's measure by pycocotools and by us, over the same generated files, in turn.

    build/goldens/bin/python bench/peers/coco_eval.py [--pictures 2000] [--detections 20] [--rounds 3]

Both start with the two files and end with the twelve figures, which must agree to 1e-9; interpreter and program start
are not counted. 80 categories, 7 objects a picture; masks are ellipses, polygons in the ground truth and runs in the
results. The environment is that of the goldens (tools/make_goldens.sh makes it).
"""

import argparse
import contextlib
import io
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 480, 640
CATEGORIES = 80
OBJECTS = 7


def ellipse(x, y, width, height):
    angles = numpy.linspace(0, 2 * numpy.pi, 24, endpoint=False)
    points = numpy.stack([x + width * (1 + numpy.cos(angles)) / 2, y + height * (1 + numpy.sin(angles)) / 2], axis=1)
    return [numpy.round(points, 2).flatten().tolist()]


def generate(pictures, detections):
    random = numpy.random.default_rng(1)
    truth = {
        "images": [{"id": i + 1, "width": WIDTH, "height": HEIGHT} for i in range(pictures)],
        "categories": [{"id": i + 1, "name": str(i + 1)} for i in range(CATEGORIES)],
        "annotations": [],
    }
    results = []
    for image in range(1, pictures + 1):
        objects = []
        for _ in range(OBJECTS):
            side = numpy.exp(random.uniform(numpy.log(12), numpy.log(300), 2))
            box = [*(random.uniform(0, 1, 2) * ((WIDTH, HEIGHT) - side).clip(0)), *side]
            objects.append((random.integers(1, CATEGORIES + 1), numpy.round(box, 2)))
            truth["annotations"].append({
                "id": len(truth["annotations"]) + 1,
                "image_id": image,
                "category_id": int(objects[-1][0]),
                "bbox": objects[-1][1].tolist(),
                "area": float(numpy.pi / 4 * side.prod()),
                "iscrowd": 0,
                "segmentation": ellipse(*objects[-1][1]),
            })
        for _ in range(detections):
            category, box = objects[random.integers(OBJECTS)]
            box = box * random.normal(1, 0.08, 4)
            rle = mask_utils.frPyObjects(ellipse(*box), HEIGHT, WIDTH)[0]
            results.append({
                "image_id": image,
                "category_id": int(category if random.random() < 0.8 else random.integers(1, CATEGORIES + 1)),
                "bbox": numpy.round(box, 2).tolist(),
                "score": round(random.random(), 3),
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
            })
    return truth, results


def by_pycocotools(truth, results, kind):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(str(truth))
        run = COCOeval(ground, ground.loadRes(str(results)), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return time.perf_counter() - start, run.stats


def by_us(truth, results, kind, threads):
    program = ROOT / "build/release/bin/convnext"
    command = [program, "coco-eval", truth, results, "--type", kind, "--json", "--threads", threads]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    return document["seconds"], document["stats"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--detections", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="keeps the generated files here, and takes those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.folder or scratch)
        files = [folder / "truth.json", folder / "results.json"]
        if not all(file.exists() for file in files):
            folder.mkdir(parents=True, exist_ok=True)
            for file, value in zip(files, generate(options.pictures, options.detections)):
                file.write_text(json.dumps(value))
        sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in files)
        print(f"{options.pictures} pictures, {options.detections} detections each, {sizes}, {options.rounds} rounds")
        for kind in ("bbox", "segm"):
            seconds = {"pycocotools": [], "ours, 1 thread": [], "ours, 2 threads": []}
            for _ in range(options.rounds):
                took, expected = by_pycocotools(*files, kind)
                seconds["pycocotools"].append(took)
                for threads in (1, 2):
                    took, stats = by_us(*files, kind, threads)
                    assert numpy.abs(numpy.subtract(stats, expected)).max() <= 1e-9, (stats, expected)
                    seconds[f"ours, {threads} thread{'s' if threads > 1 else ''}"].append(took)
            for name, values in seconds.items():
                print(f"{kind}  {name:16} best {min(values):7.2f} s   median {statistics.median(values):7.2f} s")


if __name__ == "__main__":
    main()
