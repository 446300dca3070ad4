"""YOLOV1Assigner in plain loops."""

from .image import Answer, Image, strongest


def yolov1(image: Image) -> Answer:
    """Of the priors in the cell of the gt's centre the one whose prediction overlaps most.

    Redmon et al., You Only Look Once, arXiv:1506.02640, section 2.2.
    """
    claims = []
    for g in image.gts:
        predictors = [n for n in image.center_priors(g) if n in image.priors]
        if predictors:
            best = max(predictors, key=lambda n: (image.predicted_iou[n, g], -n))
            claims.append((image.predicted_iou[best, g], g, best))
    return image.answer(strongest(claims), set())
