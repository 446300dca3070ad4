"""What the loss terms of a head read, worked out once a step.

Shapes: B images, N priors, M gts, K pairs, C classes, D values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import PairingError
from ...losses.declared import probabilities
from ...ops import ciou, diou, giou, iou
from ...structures import Assignment, GroundTruth, HeadOutput, LossTerm, Priors

# What a term's ``target_quality`` may measure. CIoU without a threshold on its alpha, as
# YOLOv5's objectness learns it.
OVERLAPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'iou': iou,
    'giou': giou,
    'diou': diou,
    'ciou': partial(ciou, eps=1e-7, alpha_threshold=None),
}


@dataclass(frozen=True, eq=False)
class LossInputs:
    """One step of one head: its outputs, the priors, the gts and which prior learns which gt.

    Args:
        output: The flattened maps.
        priors: The priors.
        gt: The ground truth.
        assignment: The pairs, after the sampler.
        coder: Encodes gts and decodes predictions; None for heads without boxes.
        num_classes: C, without background.
        dense_targets: Targets a head worked out for every prior, by branch: ``(B, N, D)``.
        region_ignored: ``(B, N)`` bool, priors where nothing is annotated.
        class_loss: Its activation turns class outputs into probabilities, for weights and
            targets that follow from what the head predicts; None for a sigmoid.
    """

    output: HeadOutput
    priors: Priors
    gt: GroundTruth
    assignment: Assignment
    coder: object | None
    num_classes: int
    dense_targets: Mapping[str, Tensor] = field(default_factory=dict)
    region_ignored: Tensor | None = None
    class_loss: object | None = None
    _cache: dict = field(default_factory=dict, repr=False)

    def once(self, key, compute):
        """Work something out the first time it is asked for."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def pairs(self, term: LossTerm) -> Assignment:
        """The pairs a term sees: all, or one a prior."""
        if not term.one_per_prior:
            return self.assignment
        return self.assignment.one_gt_per_prior(self.gt, last=term.one_per_prior == 'last')

    def pred_at(self, branch: str, pairs: Assignment) -> tuple[Tensor, Tensor | None]:
        """``(K, D)`` raw outputs at the pairs, and which exist (None: all)."""
        key = ('pred', branch, id(pairs))
        return self.once(key, lambda: self.output.at(branch, pairs.image, pairs.prior))

    def reference_at(self, pairs: Assignment) -> Tensor:
        """What the coder measures from: boxes ``(K, 4)`` or centres ``(K, 2)``."""
        at = self.priors.centers_at if self._coder.reference == 'centers' else self.priors.boxes_at
        return at(pairs.image, pairs.prior)

    def encoded_targets(self, pairs: Assignment) -> Tensor:
        """``(K, 4)`` the gts as the coder writes them, clamped to what it can reach."""

        def compute() -> Tensor:
            stride = self.priors.strides_at(pairs.image, pairs.prior)
            boxes = pairs.boxes_of(self.gt)
            return self._coder.encode(self.reference_at(pairs), boxes, stride=stride)

        return self.once(('encoded', id(pairs)), compute)

    def decoded_at(self, branch: str, pairs: Assignment) -> Tensor:
        """``(K, 4)`` predicted boxes at the pairs, xyxy pixels, differentiable."""

        def compute() -> Tensor:
            raw, _ = self.pred_at(branch, pairs)
            encoded = self._coder.activate(raw.float())
            stride = self.priors.strides_at(pairs.image, pairs.prior)
            return self._coder.decode(self.reference_at(pairs), encoded, stride=stride)

        return self.once(('decoded', branch, id(pairs)), compute)

    def overlaps_at(self, branch: str, pairs: Assignment, mode: str) -> Tensor:
        """``(K,)`` overlap of prediction and gt, detached, in [0, 1]."""

        def compute() -> Tensor:
            # Outside no_grad: what is worked out once here serves the box loss too.
            decoded = self.decoded_at(branch, pairs)
            with torch.no_grad():
                return OVERLAPS[mode](decoded, pairs.boxes_of(self.gt)).clamp(0, 1)

        return self.once(('overlap', branch, mode, id(pairs)), compute)

    def centerness_at(self, pairs: Assignment) -> tuple[Tensor, Tensor]:
        """Centreness of the priors in their gts (Tian et al. 2019, eq. 3).

        Returns:
            ``(K,)`` in [0, 1], 0 for a prior centred outside its gt; ``(K,)`` bool inside.
        """

        def compute() -> tuple[Tensor, Tensor]:
            return centerness(
                self.priors.centers_at(pairs.image, pairs.prior), pairs.boxes_of(self.gt)
            )

        return self.once(('centerness', id(pairs)), compute)

    def best_scores_at(self, pairs: Assignment) -> Tensor:
        """``(K,)`` the highest class probability that each pair's prior predicts, detached."""

        def compute() -> Tensor:
            data = self.output['cls'].detach()
            rows = self.priors.class_rows_at(pairs.image, pairs.prior)
            logits = data.reshape(-1, data.shape[-1]).index_select(0, rows)
            scores = probabilities(logits, self.class_loss)[:, : self.num_classes]
            return scores.amax(dim=1)

        return self.once(('best score', id(pairs)), compute)

    @property
    def _coder(self):
        if self.coder is None:
            raise PairingError('a box loss term needs a head with a bbox_coder')
        return self.coder


@dataclass(frozen=True, eq=False)
class Stage:
    """One head of a detector up to what its losses compare, for training and for tools.

    Args:
        name: Distinguishes the losses of a detector with several heads; '' for the main one.
        head: The head, with its ``loss_terms``.
        inputs: What they compare.
    """

    name: str
    head: Any
    inputs: LossInputs

    def loss_name(self, term: str) -> str:
        """``loss_cls`` to ``loss_rpn_cls``."""
        return term.replace('loss', f'loss_{self.name}', 1) if self.name else term


def centerness(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """``sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))`` of points in boxes.

    Args:
        points: ``(K, 2)`` xy pixels.
        boxes: ``(K, 4)`` xyxy pixels.

    Returns:
        ``(K,)`` values, 0 outside, and ``(K,)`` bool, which points lie inside.

    Reference: FCOS, Tian et al., ICCV 2019, eq. (3).
    """
    low, high = points - boxes[:, :2], boxes[:, 2:] - points  # (K, 2) left/top, right/bottom
    near, far = torch.minimum(low, high), torch.maximum(low, high)
    inside = (near > 0).all(dim=-1)
    ratio = near / far.clamp(min=1e-6)
    value = torch.where(inside[:, None], ratio, 0).prod(dim=-1).sqrt()
    return value, inside
