"""Samples whose boxes can be found again in their pixels."""

import numpy as np

# Which channels are bright inside a rectangle, by label. Two channels rise together at
# an interpolated edge, so no edge of one rectangle looks like another.
CODES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
DARK, BRIGHT = 10, 200


def painted(boxes, *, height=60, width=80, labels=None, dtype=np.uint8, seed=0):
    """A dark image with one flat rectangle a box, its colour told by the label."""
    image = np.full((height, width, 3), DARK, dtype)
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.arange(len(boxes)) if labels is None else np.asarray(labels)
    for label, (x1, y1, x2, y2) in zip(labels, boxes.astype(int)):
        image[y1:y2, x1:x2] = np.where(CODES[label], BRIGHT, DARK)
    return dict(
        img=image,
        img_shape=(height, width),
        ori_shape=(height, width),
        gt_bboxes=boxes,
        gt_bboxes_labels=labels.astype(np.int64),
        gt_ignore_flags=np.zeros(len(boxes), bool),
        rng=np.random.default_rng(seed),
    )


def found_box(image, label, level=(DARK + BRIGHT) / 2):
    """The extent xyxy of the pixels of a label's colour; None where there are none."""
    bright = image.astype(np.float64) > level
    ys, xs = np.nonzero((bright == np.array(CODES[label], bool)).all(2))
    if not len(xs):
        return None
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float64)


def assert_boxes_match_pixels(results, *, atol, min_side=3):
    """Every box lies around the pixels of its rectangle."""
    checked = 0
    for box, label in zip(results['gt_bboxes'], results['gt_bboxes_labels']):
        if (box[2:] - box[:2]).min() < min_side:
            continue
        found = found_box(results['img'], label)
        assert found is not None, f'box {box} of label {label} has no pixels'
        assert np.abs(found - box).max() <= atol, (found, box)
        checked += 1
    return checked


class Partners:
    """A data set for Mosaic and MixUp: every item is painted."""

    def __init__(self, make, length=5):
        self.make, self.length = make, length

    def __len__(self):
        return self.length

    def get_data_info(self, index):
        return dict(index=index, make=self.make, dataset=self)
