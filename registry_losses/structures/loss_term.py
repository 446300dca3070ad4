"""LossTerm: the declaration of one loss of a head.

A head follows its paper by declaring the right terms; it has no code of its own for them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from ..errors import ConfigError

Kind = Literal[
    'classification',
    'objectness',
    'centerness',
    'box_encoded',
    'box_decoded',
    'distribution',
    'heatmap',
    'embedding',
    'field',
]
Rows = Literal['all', 'positives', 'class_rows']
Normalizer = Literal[
    'positives',
    'class_positives',
    'quality_sum',
    'weight_sum',
    'sampled',
    'batch',
    'elements',
    'level_mean',
    'none',
    'rank_sum',
]
TargetQuality = Literal['assigned', 'one', 'iou', 'giou', 'diou', 'ciou']
PairWeight = Literal['assigned', 'centerness', 'quality', 'score', 'iou', 'box_scale', 'none']

PER_PRIOR_KINDS = ('classification', 'objectness', 'heatmap')
BOX_KINDS = ('box_encoded', 'box_decoded', 'distribution')


@dataclass(frozen=True, eq=False)
class LossTerm:
    """One loss of a head.

    Args:
        name: Key of the entry in the losses, ``loss_*``.
        loss: The loss module.
        kind: What it compares; a loss declares the kinds it can serve in ``kinds``.
        branch: The head output it reads.
        rows: ``all``: every class row (per prior) of the batch; ``positives``: the
            prior of every pair, once a pair; ``class_rows``: every class row that holds
            a positive, once.
        normalizer: What the sum is divided by. It is counted over all ranks, so that W
            ranks learn as one process with the batches of all of them:

            * ``positives``: the number of pairs (OpenMMLab's anchor heads count an image
              without any as one, so that their losses of such batches are smaller);
            * ``class_positives``: of distinct positive (class row, class) entries, also for
              terms that compare boxes;
            * ``quality_sum``, ``weight_sum``: the sum of the pairs' qualities or of the
              term's own weights;
            * ``sampled``: the priors that are not ignored;
            * ``batch``: the images;
            * ``elements``: the elements compared;
            * ``level_mean``: the elements of each level for themselves, each level
              weighted by ``level_weights`` (YOLOv5);
            * ``none``: nothing, a sum over the images of all ranks;
            * ``rank_sum``: nothing, a sum on each rank, of which training takes the mean
              over the ranks, as OpenMMLab's sums (YOLOv3): the gradient then depends on
              the number of ranks.
        clamp: The least the normaliser may be, applied once, to the total over the ranks.
        factor: The term is multiplied by it.
        times_batch: Multiply by the number of images of all ranks (YOLOv5).
        level_weights: One weight a level, for ``level_mean``; 1 by default.
        target_quality: Value of a positive: the assignment's quality, 1, or an overlap of
            the prediction with its gt (``iou``, ``giou``, ``diou``, ``ciou``), in [0, 1]. Of
            a ``centerness`` term an overlap takes the place of centreness (PAA); the other
            two change nothing there.
        negative_weight: Weight of the rows without a positive (YOLOv1's lambda_noobj).
        pair_weight: Weight of a pair in box and centreness terms: the assignment's,
            times centreness, quality, the highest class score that the prior predicts
            now (GFL), the IoU of its predicted box with the gt (PAA) or YOLO's ``2 - w h``
            (of the gt, in shares of the image), or none.
        one_per_prior: Keep one gt a prior: True by quality, then the smaller box;
            ``'last'`` by quality, then the last gt (CenterNet's sizes and offsets).
        columns: Slice [from, to) of the encoded vector that a ``box_encoded`` term
            compares; None for all.
        background: A ``heatmap`` term of one map that says where no class is: its
            complement is compared with the largest target of all classes.

    Raises:
        ConfigError: If a field has a value it cannot have.
    """

    name: str
    loss: nn.Module
    kind: Kind
    branch: str
    rows: Rows = 'all'
    normalizer: Normalizer = 'positives'
    clamp: float = 1.0
    factor: float = 1.0
    times_batch: bool = False
    level_weights: tuple[float, ...] | None = None
    target_quality: TargetQuality = 'assigned'
    negative_weight: float = 1.0
    pair_weight: PairWeight = 'assigned'
    one_per_prior: bool | Literal['last'] = False
    columns: tuple[int, int] | None = None
    background: bool = False

    def __post_init__(self) -> None:
        choices = (
            ('kind', Kind),
            ('rows', Rows),
            ('normalizer', Normalizer),
            ('target_quality', TargetQuality),
            ('pair_weight', PairWeight),
        )
        for field, options in choices:
            value = getattr(self, field)
            if value not in get_args(options):
                raise ConfigError(
                    f'loss term {self.name}: {field}={value!r} is none of '
                    + ', '.join(get_args(options))
                )
        if 'loss' not in self.name:
            raise ConfigError(f'loss term {self.name!r}: the name must hold "loss" to be summed')
        if self.level_weights is not None and self.normalizer != 'level_mean':
            raise ConfigError(f'loss term {self.name}: level_weights need normalizer level_mean')
