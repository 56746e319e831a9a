"""How long detection data take to be read as YOLO labels or as Pascal VOC XML, against the same data as COCO JSON.

    python benchmarks/box_formats.py [--images 5000] [--boxes 7] [--rounds 7]

Small images with their boxes are written into a temporary folder in all three formats. Each is then found, checked and
fingerprinted as before a run, in turn, round after round: first with an empty cache folder, then again, as a second run
does it. The medians of the processor time count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.api import RunConfig, check_data, resolve_config
from trainer.tasks.detection import files

WIDTH, HEIGHT = 64, 48
CLASSES = ("circle", "square", "star")


def write(folder: Path, images: int, boxes: int) -> None:
    """The same images and boxes as COCO JSON, YOLO labels and Pascal VOC XML, each with images of its own."""
    random = np.random.default_rng(0)
    places = {"coco": "images", "yolo": "images", "voc": "JPEGImages"}
    for name in ("coco/images", "yolo/images", "yolo/labels", "voc/JPEGImages", "voc/Annotations"):
        (folder / name).mkdir(parents=True)
    (folder / "yolo" / "classes.txt").write_text("\n".join(CLASSES))
    content: dict[str, list[object]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    picture = Image.fromarray(random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    for number in range(images):
        name = f"{number:06d}"
        picture.save(folder / "coco" / "images" / f"{name}.jpg")
        for kind in ("yolo", "voc"):
            shutil.copy(folder / "coco" / "images" / f"{name}.jpg", folder / kind / places[kind] / f"{name}.jpg")
        content["images"].append({"id": number, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT})
        labels, objects = [], []
        for box in random.integers(1, 24, (boxes, 4)).tolist():
            left, top, width, height = box
            label = (left + top) % len(CLASSES)
            known = {"id": len(content["annotations"]), "image_id": number, "category_id": label, "iscrowd": 0}
            content["annotations"].append({**known, "bbox": box, "area": width * height})
            parts = ((left + width / 2) / WIDTH, (top + height / 2) / HEIGHT, width / WIDTH, height / HEIGHT)
            labels.append(" ".join([str(label), *(f"{part:.6f}" for part in parts)]))
            corners = zip(
                ("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, left + width, top + height), strict=True
            )
            objects.append(
                f"<object><name>{CLASSES[label]}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0"
                f"</difficult><bndbox>{''.join(f'<{key}>{value}</{key}>' for key, value in corners)}</bndbox></object>"
            )
        (folder / "yolo" / "labels" / f"{name}.txt").write_text("\n".join(labels))
        (folder / "voc" / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>"
            f"<depth>3</depth></size>{''.join(objects)}</annotation>"
        )
    (folder / "coco" / "annotations.json").write_text(json.dumps(content))


def config_of(folder: Path) -> RunConfig:
    return resolve_config({"task": "detection", "data.images_dir": str(folder), "data.image_size": 64 * 8})


def seconds_of(config: RunConfig) -> tuple[float, str]:
    """Processor seconds to find and check the data, none of which this process remembers, and what was found."""
    files._read.cache_clear()
    started = time.process_time()
    summary = check_data(config)
    return time.process_time() - started, summary.words


def measure(images: int, boxes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, images, boxes)
        configs = {kind: config_of(folder / kind) for kind in ("coco", "yolo", "voc")}
        first: dict[str, list[float]] = {kind: [] for kind in configs}
        again: dict[str, list[float]] = {kind: [] for kind in configs}
        for number in range(rounds):
            os.environ["RUNGWISE_CACHE"] = str(folder / f"cache{number}")
            for times in (first, again):
                for kind, config in configs.items():
                    times[kind].append(seconds_of(config)[0])
        for kind, config in configs.items():
            print(f"{kind}: {seconds_of(config)[1].partition(' from ')[0]}")
        print(f"medians of {rounds} rounds")
        for label, times in (("the first time", first), ("a second time", again)):
            medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
            ratios = ", ".join(f"{kind} {medians[kind] / medians['coco']:.2f} times that" for kind in ("yolo", "voc"))
            print(f"{label}: COCO JSON {medians['coco']:.2f} s, {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    measure(asked.images, asked.boxes, asked.rounds)


if __name__ == "__main__":
    main()
