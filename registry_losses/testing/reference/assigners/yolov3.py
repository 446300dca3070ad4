"""YOLOV3Assigner in plain loops."""

import numpy as np

from .image import Answer, F, Image, strongest


def yolov3(image: Image, ignore_thr: float = 0.5) -> Answer:
    """The anchor of the best shape, in the cell of the gt's centre.

    Redmon and Farhadi, YOLOv3, arXiv:1804.02767, section 2.1.
    """
    anchors = [size for level in image.levels for size in level.base_sizes]
    claims = []
    for g in image.gts:
        w, h = image.gt_boxes[g, 2:] - image.gt_boxes[g, :2]
        shapes = []  # IoU of the gt and each anchor, as if they had one centre
        for anchor_w, anchor_h in anchors:
            common = min(w, F(anchor_w)) * min(h, F(anchor_h))
            union = w * h + F(anchor_w) * F(anchor_h) - common
            shapes.append(common / max(union, F(1e-6)))
        best = int(np.argmax(shapes))
        n = image.center_priors(g)[best]  # one prior for each anchor, in the same order
        if n in image.priors:
            claims.append((shapes[best], g, n))
    good = {
        n
        for n in range(image.num_priors)
        if any(image.predicted_iou[n, g] > F(ignore_thr) for g in image.gts)
    }
    return image.answer(strongest(claims), good)
