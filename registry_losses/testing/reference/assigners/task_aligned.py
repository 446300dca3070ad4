"""TaskAlignedAssigner and BatchTaskAlignedAssigner in plain loops."""

from .image import Answer, Image


def task_aligned(
    image: Image,
    topk: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    inside_first: bool = False,
    min_positives: int = 0,
    min_gt_size: float = 0.0,
) -> Answer:
    """Each gt takes the priors whose score and box agree best.

    Feng et al., TOOD, ICCV 2021, section 3.2; ``inside_first`` is YOLOv6's and YOLOv8's
    order.
    """
    t, inside = {}, {}
    for n in image.priors:
        for g in image.gts:
            t[n, g] = float(image.score(n, g)) ** alpha * float(image.predicted_iou[n, g]) ** beta
            margin = 0 if inside_first else 0.01
            inside[n, g] = image.inside_box(n, g, margin=margin, side=min_gt_size)
    takers: dict[int, list[int]] = {}
    for g in image.gts:
        candidates = [n for n in image.priors if inside[n, g] or not inside_first]
        for n in sorted(candidates, key=lambda n: (-t[n, g], n))[:topk]:
            if t[n, g] > 0 and inside[n, g]:
                takers.setdefault(n, []).append(g)
    owner = {}
    for n, gts in takers.items():
        rivals = image.gts if inside_first else gts
        owner[n] = gts[0]
        if len(gts) > 1:
            owner[n] = min(rivals, key=lambda g: (-image.predicted_iou[n, g], g))
    image.fill_up(owner, min_positives)
    answer = image.answer(owner, set())
    for g in set(owner.values()):
        # A gt's alignments, scaled so that the largest is its largest IoU.
        own = [n for n in owner if owner[n] == g]
        best_t = max(t[n, g] for n in own)
        best_iou = max(float(image.predicted_iou[n, g]) for n in own)
        for n in own:
            answer.quality[n, g] = t[n, g] * best_iou / (best_t + 1e-7)
    return answer
