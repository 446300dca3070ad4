"""LearningHead: heads of every kind learn what an assigner and a sampler tell them to.

Shapes: B images, N priors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule

from ..assigners import wrap_assigner
from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, HeadOutput, LossTerm, Predictions, Priors
from .building import build
from .terms.assigning import assign_and_sample
from .terms.loss_inputs import LossInputs
from .terms.pairing import check_settings


class LearningHead(BaseModule):
    """What dense heads, RoI heads and pose heads share: settings, assigner, sampler.

    Attributes:
        loss_terms: The losses of the head.
        reader: Reads scores and boxes of its outputs.
    """

    train_cfg_keys: tuple[str, ...] = ('assigner', 'sampler')
    loss_terms: tuple[LossTerm, ...]
    reader: Any

    def _set_learning(
        self, train_cfg: Mapping | None, test_cfg: Mapping | None, test_cfg_keys: Sequence[str]
    ) -> None:
        """Check the settings, and build the assigner and the sampler that they name."""
        self.train_cfg = dict(train_cfg or {})
        self.test_cfg = dict(test_cfg or {})
        check_settings(self, 'train_cfg', self.train_cfg, self.train_cfg_keys)
        check_settings(self, 'test_cfg', self.test_cfg, tuple(test_cfg_keys))
        assigner = build(TASK_UTILS, self.train_cfg.get('assigner'), 'assigner')
        self.assigner = None if assigner is None else wrap_assigner(assigner)
        sampler = self.train_cfg.get('sampler') or dict(type='PseudoSampler')
        self.sampler = build(TASK_UTILS, sampler, 'sampler')

    def predictions(self, output: HeadOutput, priors: Priors) -> Predictions:
        """What the head predicts now, detached, for assigners and samplers that ask."""
        return self.reader.predictions(output, priors)

    def assign(self, inputs: LossInputs, image_ids: Sequence | None = None) -> Assignment:
        """The pairs that this head learns: the assigner's, after the sampler.

        Args:
            inputs: All but the assignment.
            image_ids: B ids that key the sampler's randomness.

        Raises:
            ConfigError: If the head has no assigner.
        """
        if self.assigner is None:
            raise ConfigError(f'{type(self).__name__}: training needs train_cfg.assigner')
        return self._assign_by(self.assigner, self.loss_terms, inputs, image_ids)

    def _assign_by(
        self,
        assigner: Any,
        terms: Sequence[LossTerm],
        inputs: LossInputs,
        image_ids: Sequence | None,
    ) -> Assignment:
        return assign_and_sample(
            inputs,
            assigner=assigner,
            sampler=self.sampler,
            terms=terms,
            predictions=lambda: self.predictions(inputs.output, inputs.priors),
            image_ids=image_ids,
        )
