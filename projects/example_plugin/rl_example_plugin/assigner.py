"""An assigner: every object takes the priors that are nearest in place and size.

Shapes: B images, N priors, M objects, k priors an object, K pairs.
"""

import torch
from torch import Tensor

from registry_losses.assigners import BaseAssigner
from registry_losses.registry import TASK_UTILS
from registry_losses.structures import Assignment, GroundTruth, Predictions, Priors


def nearest_priors(
    priors: Priors, gt: GroundTruth, *, k: int, size_weight: float
) -> tuple[Tensor, Tensor]:
    """The k nearest priors of each object.

    The distance is that of the centres in units of the object's size, plus
    ``size_weight`` times the absolute logarithm of the ratio of the sizes.

    Returns:
        Priors ``(B, M, k)`` int64 and distances ``(B, M, k)``, inf where there is none.
    """
    boxes = priors.boxes if priors.per_image else priors.boxes[None]  # (B or 1, N, 4)
    centers = priors.centers if priors.per_image else priors.centers[None]
    prior_size = _size(boxes)[:, None]  # (., 1, N)
    gt_size = _size(gt.boxes)[..., None]  # (B, M, 1)
    offset = (gt.points[:, :, None] - centers[:, None]).norm(dim=-1)  # (B, M, N)
    # A plain table of all pairs keeps the example short; the assigners of the package
    # enumerate candidates instead.
    distance = offset / gt_size + size_weight * (prior_size / gt_size).log().abs()
    distance = distance.masked_fill(~gt.valid[..., None], torch.inf)
    if priors.valid is not None:
        distance = distance.masked_fill(~priors.valid[:, None], torch.inf)
    best = distance.topk(min(k, priors.num_priors), dim=-1, largest=False)
    return best.indices, best.values


def _size(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3).prod(dim=-1).sqrt()


@TASK_UTILS.register_module()
class NearestPriorsAssigner(BaseAssigner):
    """Every object to its k nearest priors; a prior that several want goes to the nearest.

    Needs neither a grid nor predictions, so it serves every head. Padding, ignore
    regions and the order of the pairs are the base class's work.

    Args:
        k: Priors an object takes.
        size_weight: How much a difference in size counts against one in place.
    """

    def __init__(self, k: int = 9, size_weight: float = 1.0) -> None:
        super().__init__()
        self.k = k
        self.size_weight = size_weight

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        none = Assignment.empty(gt.batch_size, priors.num_priors, priors.device)
        if gt.max_gts == 0 or priors.num_priors == 0:
            return none
        prior, distance = nearest_priors(priors, gt, k=self.k, size_weight=self.size_weight)
        image = torch.arange(gt.batch_size, device=prior.device)[:, None, None].expand_as(prior)
        index = torch.arange(gt.max_gts, device=prior.device)[None, :, None].expand_as(prior)
        flat, distance = (image * priors.num_priors + prior).flatten(), distance.flatten()
        # The smallest distance at which each prior is wanted.
        least = distance.new_full((none.ignored.numel(),), torch.inf)
        least = least.scatter_reduce(0, flat, distance, 'amin')
        keep = (distance == least[flat]) & distance.isfinite()
        return none.replace(
            image=image.flatten()[keep],
            prior=prior.flatten()[keep],
            gt=index.flatten()[keep],
            quality=torch.ones_like(distance[keep]),
            weight=torch.ones_like(distance[keep]),
            one_to_one=False,  # objects at exactly the same distance share a prior
        )
