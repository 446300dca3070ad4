"""GridAssigner in plain loops."""

from .image import Answer, F, Image


def grid_assigner(
    image: Image,
    pos_iou_thr: float,
    neg_iou_thr: float | tuple[float, float],
    min_pos_iou: float = 0.0,
    gt_max_assign_all: bool = True,
) -> Answer:
    """As ``max_iou``, but positives only in cells that hold a gt's centre.

    Redmon and Farhadi, YOLOv3, arXiv:1804.02767, section 2.1, with thresholds.
    """
    owner: dict[int, int] = {}
    ignored: set[int] = set()
    responsible = {n for g in image.gts for n in image.center_priors(g)} & set(image.priors)
    for n in image.priors if image.gts else []:
        iou, g = image.best_gt(n)
        if isinstance(neg_iou_thr, tuple):
            negative = F(neg_iou_thr[0]) < iou <= F(neg_iou_thr[1])
        else:
            negative = iou <= F(neg_iou_thr)
        if not negative:
            ignored.add(n)
        if n in responsible and iou > F(pos_iou_thr):
            owner[n] = g
    for g in image.gts if responsible else []:
        best = max(image.iou[n, g] for n in responsible)
        taken = sorted(n for n in responsible if image.iou[n, g] == best)
        if best > F(min_pos_iou):
            for n in taken if gt_max_assign_all else taken[:1]:
                owner[n] = g
    return image.answer(owner, ignored)
