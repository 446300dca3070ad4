"""A small data set of a user's own, in any format."""

import json

import cv2
import numpy as np

CLASSES = ('bolt', 'nut')


def write_coco(folder, count=6, seed=0):
    """Coloured rectangles on grey; the json, with images in ``images/``."""
    rng = np.random.default_rng(seed)
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i in range(1, count + 1):
        image = np.full((96, 128, 3), 110, np.uint8)
        for _ in range(3):
            label = int(rng.integers(2))
            w, h = (rng.integers(14, 22, 2) if label else rng.integers(24, 44, 2)).tolist()
            x, y = int(rng.integers(0, 128 - w)), int(rng.integers(0, 96 - h))
            image[y : y + h, x : x + w] = ((40, 60, 220), (220, 160, 40))[label]
            box = dict(bbox=[x, y, w, h], area=w * h, iscrowd=0)
            number = len(annotations) + 1
            annotations.append(dict(box, id=number, image_id=i, category_id=label + 1))
        cv2.imwrite(str(folder / 'images' / f'{i}.png'), image)
        images.append(dict(id=i, file_name=f'{i}.png', width=128, height=96))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    path = folder / 'all.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path
