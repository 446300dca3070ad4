"""SSDAssigner in plain loops."""

from .image import Answer, F, Image


def ssd(image: Image, pos_iou_thr: float = 0.5) -> Answer:
    """The best pair of all, again and again; then every free prior over the threshold.

    Liu et al., SSD, arXiv:1512.02325, section 2.2.
    """
    owner: dict[int, int] = {}
    unmatched = list(image.gts)
    while unmatched:
        best, pair = F(0), None
        for g in unmatched:
            for n in image.priors:
                if n not in owner and image.iou[n, g] > best:
                    best, pair = image.iou[n, g], (n, g)
        if pair is None:  # no gt that is left overlaps a free prior
            break
        owner[pair[0]] = pair[1]
        unmatched.remove(pair[1])
    for n in image.priors:
        iou, g = image.best_gt(n)
        if n not in owner and iou > F(pos_iou_thr):
            owner[n] = g
    return image.answer(owner, set())
