"""The sums of squares of YOLOv1 and YOLOv3, prior by prior.

Rows hold x, y, w, h, confidence and class probabilities, as lists of numbers.
"""

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def yolov1(
    pred: Rows,
    target: Rows,
    responsible: Sequence[bool],
    lambda_coord: float = 5.0,
    lambda_noobj: float = 0.5,
) -> dict[str, float]:
    """J. Redmon et al. (2016), equation 3."""
    out = dict.fromkeys(('loss_xy', 'loss_wh', 'loss_conf', 'loss_cls'), 0.0)
    for p, t, own in zip(pred, target, responsible):
        out['loss_conf'] += (1.0 if own else lambda_noobj) * (p[4] - t[4]) ** 2
        if own:
            out['loss_xy'] += lambda_coord * sum((p[i] - t[i]) ** 2 for i in (0, 1))
            out['loss_wh'] += lambda_coord * sum(
                (math.sqrt(p[i]) - math.sqrt(t[i])) ** 2 for i in (2, 3)
            )
            out['loss_cls'] += sum((a - b) ** 2 for a, b in zip(p[5:], t[5:]))
    return out


def yolov3(
    pred: Rows,
    target: Rows,
    responsible: Sequence[bool],
    ignored: Sequence[bool],
    lambda_coord: float = 1.0,
    lambda_noobj: float = 1.0,
) -> dict[str, float]:
    """J. Redmon and A. Farhadi (2018), section 2, with squares for the confidence."""
    out = dict.fromkeys(('loss_bbox', 'loss_conf', 'loss_cls'), 0.0)
    for p, t, own, skip in zip(pred, target, responsible, ignored):
        if own:
            squares = sum((p[i] - t[i]) ** 2 for i in range(4))
            out['loss_bbox'] += lambda_coord * (2 - t[2] * t[3]) * squares
            out['loss_conf'] += (p[4] - t[4]) ** 2
            out['loss_cls'] -= sum(b * math.log(a) for a, b in zip(p[5:], t[5:]))
        elif not skip:
            out['loss_conf'] += lambda_noobj * (p[4] - t[4]) ** 2
    return out
