"""What the loss terms of pose heads compare: tags of persons, fields of limbs.

Shapes: B images, N priors, M gts, V joints, D tag dimensions, L limbs, P persons.
"""

import torch
from torch import Tensor

from ...errors import ConfigError
from ...structures import ClassTargets, GroundTruth, LossTerm, Priors
from ...structures.target_maps import MapTargets
from .comparison import Comparison, TagTargets
from .loss_inputs import LossInputs


def tag_comparison(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Tags at the cells of the joints, whatever prior the assigner gave each joint to.

    The branch holds ``(B, N, D V)``: V maps of the first tag dimension, then of the second.
    """
    gt, data = inputs.gt, inputs.output[term.branch]
    b, m = gt.labels.shape
    cell = nearest_priors(inputs.priors, gt)  # (B, M)
    dims = data.shape[-1] // inputs.num_classes
    channel = gt.labels.clamp(0, inputs.num_classes - 1)[..., None] + (
        inputs.num_classes * torch.arange(dims, device=data.device)
    )  # (B, M, D)
    image = torch.arange(b, device=data.device)[:, None, None]
    tags = data[image, cell[..., None], channel].reshape(b * m, dims)
    # Persons are numbered image by image, as many an image as the fullest has.
    group = gt.groups.clamp(min=0)
    persons = int(group.max()) + 1 if group.numel() else 1  # sync: the most persons
    joint_weight = (gt.valid & (gt.groups >= 0)).float()
    if gt.weights is not None:
        joint_weight = joint_weight * gt.weights
    target = TagTargets(
        person=(image[..., 0] * persons + group).reshape(-1),
        image_of_person=torch.arange(b, device=data.device).repeat_interleave(persons),
        num_images=b,
        joint_weight=joint_weight.reshape(-1),
        max_persons=persons,
    )
    return Comparison((tags,), target, None, _count(term, tags, b))


def field_comparison(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Fields at every prior that is not ignored."""
    target = inputs.dense_targets[term.branch]  # (B, N, 2 L)
    stages = inputs.output.branches[term.branch].stages()
    preds = tuple(stage.reshape(-1, stage.shape[-1]) for stage in stages)
    ignored = inputs.region_ignored
    if ignored is None:
        ignored = inputs.assignment.ignored
    weight = (~ignored).reshape(-1).float()
    count = _count(term, preds[0], target.shape[0], sampled=weight)
    return Comparison(preds, target.reshape(-1, target.shape[-1]), weight, count)


def nearest_priors(priors: Priors, gt: GroundTruth) -> Tensor:
    """``(B, M)`` index of the prior whose cell's centre is nearest to each gt's point.

    On a grid of one level; a point on the border belongs to the last cell.
    """
    level = priors.levels[0]
    points = gt.points
    exact = points / points.new_tensor(level.stride) - level.offset
    cell = torch.floor(exact + 0.5)
    x = cell[..., 0].clamp(0, level.width - 1)
    y = cell[..., 1].clamp(0, level.height - 1)
    # What is not finite belongs to no joint; it must only stay on the map.
    return torch.nan_to_num(y * level.width + x).long() * level.num_base


def background_targets(targets: ClassTargets) -> ClassTargets:
    """The largest target of all classes, as the only class.

    A background map says ``1 - max``: its complement is compared with this.
    """
    if isinstance(targets, MapTargets):
        return targets.any_class()
    return ClassTargets.merge(
        targets.rows,
        torch.zeros_like(targets.classes),
        targets.values,
        targets.positive,
        targets.ignored,
        1,
    )


def complement(pred: Tensor, loss: object) -> Tensor:
    """The output whose probability is 1 less that of ``pred``."""
    if getattr(loss, 'activation', None) == 'sigmoid':
        return -pred
    return 1 - pred


def _count(term: LossTerm, pred: Tensor, batch: int, *, sampled: Tensor | None = None) -> Tensor:
    """This rank's normaliser, a 0-d float32."""
    if term.normalizer == 'sampled' and sampled is not None:
        return sampled.sum()
    values = {'elements': pred.numel(), 'batch': batch, 'none': 1, 'rank_sum': 1}
    if term.normalizer not in values:
        raise ConfigError(
            f'{term.name}: normalizer {term.normalizer!r} has no meaning for kind {term.kind!r}; '
            f'it takes {", ".join(values)}'
        )
    return torch.full((), float(values[term.normalizer]), device=pred.device)
