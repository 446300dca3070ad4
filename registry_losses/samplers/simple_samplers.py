"""The sampler that keeps all, and hard negative mining."""

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment
from .base import BaseSampler, SamplingInputs, keep_only
from .budget_samplers import hardest


@TASK_UTILS.register_module()
class PseudoSampler(BaseSampler):
    """Keeps all priors: for losses that balance positives and negatives themselves (focal).

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 4: all anchors
    of an image take part.
    """

    counts_negatives = False

    def choose(self, inputs: SamplingInputs) -> Assignment:
        """The assignment unchanged."""
        return inputs.assignment


@TASK_UTILS.register_module()
class HardNegativeSampler(BaseSampler):
    """All positives, and the negatives with the largest loss, in proportion.

    ``max(min_neg, neg_pos_ratio * positives)`` negatives per image, by the loss of their
    class row. Equal losses: the lower prior first. Liu et al., SSD, ECCV 2016, section
    2.2, hard negative mining, at most 3 to 1.

    Args:
        neg_pos_ratio: Negatives per positive prior.
        min_neg: Negatives at least; 0 as in the paper's code, where an image without
            positives contributes nothing.
        seed: Not read; accepted as by every sampler.
        context: Likewise.

    Raises:
        ConfigError: If a number is negative.
    """

    needs = frozenset({'row_loss'})
    counts_negatives = False

    def __init__(
        self, neg_pos_ratio: float = 3.0, min_neg: int = 0, *, seed: int = 0, context: object = None
    ) -> None:
        super().__init__(seed=seed)
        if neg_pos_ratio < 0 or min_neg < 0:
            raise ConfigError(
                'HardNegativeSampler: expected neg_pos_ratio >= 0 and min_neg >= 0, got '
                f'{neg_pos_ratio} and {min_neg}'
            )
        self.neg_pos_ratio = neg_pos_ratio
        self.min_neg = min_neg

    def choose(self, inputs: SamplingInputs) -> Assignment:
        """All positives and the hardest negatives."""
        positives = inputs.assignment.positive_mask().sum(dim=1)
        count = (positives.double() * self.neg_pos_ratio).long().clamp(min=self.min_neg)
        # On the CPU the largest count bounds the search for nothing; on CUDA to read it
        # would wait for the device, and a sort of all costs less.
        on_host = count.device.type == 'cpu' and count.numel() > 0
        limit = int(count.max()) if on_host else inputs.assignment.num_priors
        return keep_only(inputs, negatives=hardest(inputs, count, limit))
