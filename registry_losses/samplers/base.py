"""BaseSampler, the base of all samplers: from an Assignment to a smaller one.

Shapes: B images, N priors, M gts, K pairs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import ConfigError, check_shape
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .keyed import image_keys
from .sampling_result import SamplingResult, as_inputs


@dataclass(frozen=True, eq=False)
class SamplingInputs:
    """One step, as a sampler sees it.

    Args:
        assignment: All pairs.
        priors: The priors.
        gt: The ground truth.
        keys: Two ``(B,)`` int32 keys per image, of its randomness.
        row_loss: ``(B, N)`` loss of each prior, for samplers that ask.
        predictions: For samplers that ask.
    """

    assignment: Assignment
    priors: Priors
    gt: GroundTruth
    keys: tuple[Tensor, Tensor]
    row_loss: Tensor | None = None
    predictions: Predictions | None = None

    @cached_property
    def negatives(self) -> Tensor:
        """``(B, N)`` bool: in no pair, not soft, not ignored."""
        assigned = self.assignment
        negatives = ~(assigned.positive_mask() | assigned.ignored)
        if assigned.soft is not None:
            negatives[assigned.soft.image, assigned.soft.prior] = False
        return negatives


class BaseSampler(ABC):
    """Chooses which priors take part in the losses.

    Called with an assignment it returns a smaller one. A positive that it drops loses its
    pairs; what it drops, positive or negative, becomes ignored. Soft priors stay as they
    are and count neither as positive nor as negative. Nothing depends on the batch: the
    randomness of an image is keyed by (seed, step, image id).

    Args:
        seed: First part of that key.
        context: The head, which OpenMMLab's heads pass; not read.
    """

    needs: frozenset[str] = frozenset()
    """What the head must supply: of ``row_loss``, ``predictions``."""
    add_gt_as_proposals: bool = False
    """Whether RoI heads are to append the gts to the proposals before they assign."""
    counts_negatives: bool = True
    """Whether OpenMMLab's heads average over positives and negatives (``avg_factor``)."""

    def __init__(self, *, seed: int = 0, context: object = None) -> None:
        self.seed = seed
        self._calls = 0

    def __call__(
        self,
        assignment: Assignment,
        priors: Priors,
        gt: GroundTruth,
        *,
        predictions: Predictions | None = None,
        row_loss: Tensor | None = None,
        image_ids: Tensor | None = None,
        step: int = 0,
    ) -> Assignment:
        """Sample a batch.

        Args:
            assignment: All pairs.
            priors: The priors.
            gt: The ground truth.
            predictions: Where ``needs`` holds ``predictions``.
            row_loss: ``(B, N)`` float32, where ``needs`` holds ``row_loss``.
            image_ids: ``(B,)`` int64; the place in the batch by default.
            step: Training step.

        Returns:
            The assignment of what was chosen.

        Raises:
            ConfigError: If something that it needs is missing.
        """
        given = {'row_loss': row_loss, 'predictions': predictions}
        for name in self.needs:
            if given[name] is None:
                raise ConfigError(f'{type(self).__name__}: needs {name}=, which the caller lacks')
        if row_loss is not None:
            check_shape('row_loss', row_loss, assignment.batch_size, assignment.num_priors)
        device = assignment.ignored.device
        if image_ids is None:
            image_ids = torch.arange(assignment.batch_size, device=device)
        check_shape('image_ids', image_ids, assignment.batch_size)
        if not assignment.ignored.numel():
            return assignment
        keys = image_keys(self.seed, step, image_ids.to(device, torch.long))
        inputs = SamplingInputs(assignment, priors, gt, keys, row_loss, predictions)
        with torch.no_grad():
            return self.choose(inputs)

    @abstractmethod
    def choose(self, inputs: SamplingInputs) -> Assignment:
        """The assignment of the priors chosen; usually by :func:`keep_only`."""

    def sample(
        self,
        assign_result,
        pred_instances,
        gt_instances,
        feats=None,
        *,
        row_loss: Tensor | None = None,
        image_id: int = 0,
        step: int | None = None,
    ) -> SamplingResult:
        """One image, in OpenMMLab's form.

        Args:
            assign_result: With ``gt_inds (N,)``: 0 negative, -1 ignored, i + 1 for gt i;
                and ``labels``.
            pred_instances: With ``priors (N, 4)``.
            gt_instances: With ``bboxes`` and ``labels``.
            feats: Accepted because OpenMMLab's RoI heads pass it; not read.
            row_loss: ``(N,)``, for samplers that need it.
            image_id: Part of the key of the randomness.
            step: Likewise; by default the number of calls so far.

        Returns:
            ``pos_inds``, ``neg_inds`` and the like. Where ``add_gt_as_proposals`` is set
            the gts stand before the priors, and indices count them.
        """
        if 'row_loss' in self.needs and row_loss is None:
            raise ConfigError(
                f'{type(self).__name__} chooses by the loss of each prior, which OpenMMLab heads '
                'do not hand over; choose RandomSampler, or train with a head of this project'
            )
        if step is None:
            step, self._calls = self._calls, self._calls + 1
        assignment, priors, gt, is_gt = as_inputs(
            assign_result, pred_instances, gt_instances, add_gts=self.add_gt_as_proposals
        )
        if row_loss is not None:
            missing = assignment.num_priors - row_loss.shape[0]
            row_loss = torch.cat((row_loss.new_zeros(missing), row_loss))[None]
        ids = torch.tensor([image_id], device=assignment.ignored.device)
        sampled = self(assignment, priors, gt, row_loss=row_loss, image_ids=ids, step=step)
        return SamplingResult.of(sampled, priors, gt_instances, is_gt, self.counts_negatives)


def keep_only(
    inputs: SamplingInputs, *, pairs: Tensor | None = None, negatives: Tensor | None = None
) -> Assignment:
    """The assignment with the given pairs and negatives alone, the rest ignored.

    Dropping pairs waits for the device once, for their number.

    Args:
        inputs: The step.
        pairs: ``(K,)`` bool; equal for the pairs of one prior; None keeps all.
        negatives: ``(B, N)`` bool; None keeps all.
    """
    assignment = inputs.assignment
    ignored = assignment.ignored.clone()
    if negatives is not None:
        ignored |= inputs.negatives & ~negatives
    if pairs is None:
        return assignment.replace(ignored=ignored)
    ignored[assignment.image, assignment.prior] = ~pairs
    return assignment.select(pairs).replace(ignored=ignored)
