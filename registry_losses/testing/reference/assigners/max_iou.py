"""MaxIoUAssigner in plain loops.

``F`` is float32: thresholds are compared in the precision of the IoUs.
"""

from .image import Answer, F, Image


def max_iou(
    image: Image,
    pos_iou_thr: float,
    neg_iou_thr: float | tuple[float, float],
    min_pos_iou: float = 0.0,
    gt_max_assign_all: bool = True,
    match_low_quality: bool = True,
) -> Answer:
    """Each prior goes to the gt it overlaps most, then each gt takes its best prior.

    Ren et al., Faster R-CNN, arXiv:1506.01497, section 3.1.2.
    """
    low, high = neg_iou_thr if isinstance(neg_iou_thr, tuple) else (0.0, neg_iou_thr)
    owner: dict[int, int] = {}
    ignored: set[int] = set()
    if not image.gts:
        return image.answer(owner, ignored)
    for n in image.priors:
        iou, g = image.best_gt(n)
        if iou >= F(pos_iou_thr):
            owner[n] = g
        elif not F(low) <= iou < F(high):
            ignored.add(n)
    if match_low_quality and image.priors:
        for g in image.gts:
            best = max(image.iou[n, g] for n in image.priors)
            if best < F(min_pos_iou):
                continue
            taken = [n for n in image.priors if image.iou[n, g] == best]
            if best == 0:  # nothing overlaps this gt
                taken = [image.nearest(g)]
            for n in taken if gt_max_assign_all else taken[:1]:
                owner[n] = g  # whoever had it before
    return image.answer(owner, ignored)
