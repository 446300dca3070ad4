"""BaseAssigner, the base of all assigners: checks, ignore regions, the order of the pairs.

Shapes: B images, N priors, M gts, Mi ignore regions, K pairs.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable

from torch import Tensor

from ..errors import PairingError, ShapeError, check_shape
from ..ops.boxes import hide_non_finite
from ..structures import Assignment, GroundTruth, Predictions, Priors
from ..structures.assignment import sort_pairs
from .ignore_regions import boxes_in_ignore_box, centers_in_ignore_box, in_ignore_mask
from .openmmlab import OpenMMLabForm


class BaseAssigner(OpenMMLabForm, metaclass=ABCMeta):
    """Maps priors and ground truth of a whole batch to positive (prior, gt) pairs.

    A subclass implements :meth:`_assign`. The following holds for all of them.

    * A prior with ``priors.valid`` False is no candidate, and ignored.
    * A gt with ``gt.valid`` False has no positive.
    * Ignore boxes, one rule for every assigner. By default (``ignore_iof_thr=None``) a
      prior whose centre lies inside one is ignored unless it is in a pair: a pair
      outranks a region. A positive number is OpenMMLab's rule: a prior with more than
      that share of its box in a region (with ``ignore_wrt_candidates=False``: whose box
      covers more than that share of a region) is ignored and no candidate. With zero or
      less, ignore boxes have no effect. :meth:`assign`, OpenMMLab's form of
      the call, uses them only with a positive number, as OpenMMLab does.
    * A prior whose centre lies on ``gt.ignore_mask`` is ignored unless it is in a pair.
    * A prior that is in a pair is never ignored.
    * A predicted box that is not finite overlaps nothing; other priors are not affected.
    * Pairs are sorted by (image, prior, gt).

    Args:
        ignore_iof_thr: See above.
        ignore_wrt_candidates: Whether that share is measured of the prior's box; otherwise
            of the ignore region.
    """

    #: What the head must supply: a subset of {'predictions', 'pair_loss', 'row_loss'}.
    needs: frozenset[str] = frozenset()
    #: Whether ``priors.levels`` is needed.
    requires_grid: bool = False
    #: Whether :meth:`_assign` returns its pairs in order already.
    returns_sorted: bool = False
    #: Whether predicted boxes that are not finite are moved far away before :meth:`_assign`.
    hides_non_finite: bool = True

    def __init__(
        self, *, ignore_iof_thr: float | None = None, ignore_wrt_candidates: bool = True
    ) -> None:
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates

    def __call__(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None = None
    ) -> Assignment:
        """Assign a batch.

        Args:
            priors: The N priors.
            gt: The batch's ground truth.
            predictions: What the head predicts now; needed where :attr:`needs` says so.

        Returns:
            The positive pairs and the ignored priors.

        Raises:
            PairingError: If the priors lack the grid, or the call the predictions, that
                this assigner needs.
            ShapeError: If the sizes disagree.
        """
        self._check(priors, gt, predictions)
        return self._run(priors, gt, predictions, self._assign)

    def _run(
        self,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
        rule: Callable[[Priors, GroundTruth, Predictions | None], Assignment],
    ) -> Assignment:
        """Apply ``rule``, and before and after it what is common to all assigners."""
        region = self._ignore_region(priors, gt)
        if region is not None and self.ignore_iof_thr is not None:
            outside = ~region
            priors = priors.with_valid(outside if priors.valid is None else priors.valid & outside)
        if predictions is not None and self.hides_non_finite and 'predictions' in self.needs:
            boxes = hide_non_finite(predictions.boxes)
            predictions = Predictions(boxes, predictions.scores)
        assignment = rule(priors, gt, predictions)
        if not self.returns_sorted:
            assignment = sort_pairs(assignment, gt.max_gts)
        return self._mark_ignored(assignment, priors, gt, region)

    @abstractmethod
    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        """The rule itself.

        Args:
            priors: Those with ``valid`` False must not be matched.
            gt: Those with ``valid`` False must not be matched.
            predictions: Given when :attr:`needs` contains 'predictions'.

        Returns:
            The pairs, in any order (see :attr:`returns_sorted`), and in ``ignored``, a
            new tensor, the priors that the rule itself ignores.
        """

    def refine(
        self, assignment: Assignment, priors: Priors, gt: GroundTruth, pair_loss: Tensor
    ) -> Assignment:
        """Second step of assigners whose :attr:`needs` contains 'pair_loss'.

        Args:
            assignment: What the first step returned.
            priors: As in the first step.
            gt: As in the first step.
            pair_loss: ``(K,)`` detached loss of each pair.
        """
        return assignment

    def _check(self, priors: Priors, gt: GroundTruth, predictions: Predictions | None) -> None:
        name = type(self).__name__
        if self.requires_grid and not priors.levels:
            raise PairingError(
                f'{name} needs priors on a grid (priors.levels), but got '
                f'{priors.num_priors} bare boxes; use it with a dense head, or choose an '
                'assigner that reads boxes alone, such as MaxIoUAssigner'
            )
        self._check_sizes(priors, gt, predictions)

    def _check_sizes(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> None:
        name = type(self).__name__
        if 'predictions' in self.needs and predictions is None:
            raise PairingError(f'{name} needs what the head predicts: call it with predictions')
        b, n = gt.batch_size, priors.num_priors
        if priors.per_image:
            check_shape('priors.boxes', priors.boxes, b, n, 4)
        if priors.valid is not None:
            check_shape('priors.valid', priors.valid, b, n)
        if predictions is not None:
            check_shape('predictions.boxes', predictions.boxes, b, n, 4)
        if priors.device != gt.device:
            raise ShapeError(f'priors are on {priors.device}, but gt on {gt.device}: move one')

    def _ignore_region(self, priors: Priors, gt: GroundTruth) -> Tensor | None:
        """``(B, N)`` bool, priors in an ignore box; None when there can be none."""
        if gt.ignore_boxes.shape[1] == 0:
            return None
        thr = self.ignore_iof_thr
        if thr is None:
            return centers_in_ignore_box(priors, gt)
        if thr <= 0:
            return None
        return boxes_in_ignore_box(priors, gt, thr, wrt_candidates=self.ignore_wrt_candidates)

    @staticmethod
    def _mark_ignored(
        assignment: Assignment, priors: Priors, gt: GroundTruth, region: Tensor | None
    ) -> Assignment:
        extra = [] if region is None else [region]
        if priors.valid is not None:
            extra.append(~priors.valid)
        if gt.ignore_mask is not None:
            extra.append(in_ignore_mask(priors, gt.ignore_mask))
        ignored = assignment.ignored
        for more in extra:
            ignored = ignored | more
        ignored = ignored.contiguous()
        ignored.view(-1).index_fill_(0, assignment.flat_index, False)
        return assignment.replace(ignored=ignored)

    def __repr__(self) -> str:
        options = ', '.join(
            f'{key}={value!r}' for key, value in vars(self).items() if not key.startswith('_')
        )
        return f'{type(self).__name__}({options})'
