"""The first part of a training, which may have an assigner and loss terms of its own.

Assigners that look at predictions have little to look at in the beginning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmengine.logging import MessageHub
from typing_extensions import Unpack

from ..assigners import BaseAssigner, wrap_assigner
from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, LossTerm
from .building import build
from .dense_head import DenseHead
from .options import BoxHeadOptions
from .terms.loss_inputs import LossInputs
from .terms.pairing import check_pairing

PHASE_KEYS = ('initial_assigner', 'initial_epoch')


class InitialPhase:
    """Who assigns at first, and for how long.

    Args:
        assigner: The assigner of the first part.
        until: Epochs that it lasts, at least 1; or, below 1, its share of the whole
            training, which also runs of steps (``IterBasedTrainLoop``) have.

    Attributes:
        epoch: The epoch that counts; None: what the Runner announces.
    """

    def __init__(self, assigner: BaseAssigner, until: float) -> None:
        self.assigner = assigner
        self.until = until
        self.epoch: int | None = None

    @classmethod
    def of(cls, train_cfg: Mapping[str, Any], owner: str) -> 'InitialPhase | None':
        """From ``initial_assigner`` and ``initial_epoch``; None where there is no assigner.

        Raises:
            ConfigError: If one stands without the other, or lasts no time.
        """
        node, until = (train_cfg.get(key) for key in PHASE_KEYS)
        if node is None:
            return None
        if not isinstance(until, (int, float)) or isinstance(until, bool) or until <= 0:
            raise ConfigError(
                f'{owner}.train_cfg.initial_epoch: expected how long initial_assigner assigns, in '
                f'epochs or as a share of the training below 1, got {until!r}'
            )
        return cls(wrap_assigner(build(TASK_UTILS, node, 'initial_assigner')), until)

    def is_on(self) -> bool:
        """Whether a training is still in its first part; outside of trainings nothing is."""
        if self.epoch is not None:
            return self.epoch < self.until
        hub = MessageHub.get_current_instance()
        if self.until < 1:
            done, whole = hub.get_info('iter', 0) or 0, hub.get_info('max_iters', 0) or 0
            return done < self.until * whole
        epoch = hub.get_info('epoch', None)
        return epoch is not None and epoch < self.until


class PhasedHead(DenseHead):
    """Base class of heads whose training may begin with another assigner.

    ``train_cfg.initial_assigner`` assigns for ``train_cfg.initial_epoch`` (see
    :class:`InitialPhase`), and the losses are then :meth:`initial_terms`.

    Args:
        num_classes: C.
        in_channels: Channels of each input feature map.
        extra_losses: See :class:`DenseHead`.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    train_cfg_keys: tuple[str, ...] = (*DenseHead.train_cfg_keys, *PHASE_KEYS)

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        *,
        extra_losses: Mapping[str, object] | None = None,
        init_cfg=None,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        super().__init__(
            num_classes, in_channels, extra_losses=extra_losses, init_cfg=init_cfg, **common
        )
        self.initial = InitialPhase.of(self.train_cfg, type(self).__name__)
        if self.initial is not None:
            parts = replace(
                self.pairing(), terms=self.initial_terms(), assigner=self.initial.assigner
            )
            check_pairing(parts)

    @property
    def epoch(self) -> int | None:
        """The epoch that decides who assigns; None: the one the Runner announces."""
        return None if self.initial is None else self.initial.epoch

    @epoch.setter
    def epoch(self, value: int | None) -> None:
        if self.initial is not None:
            self.initial.epoch = value

    def initial_terms(self) -> tuple[LossTerm, ...]:
        """The losses of the first part; by default those of the rest."""
        return self.loss_terms

    def active_terms(self) -> tuple[LossTerm, ...]:
        """The terms of this step."""
        first = self.initial is not None and self.initial.is_on()
        return self.initial_terms() if first else self.loss_terms

    def assign(self, inputs: LossInputs, image_ids: Sequence | None = None) -> Assignment:
        """The pairs of this step's assigner, after the sampler."""
        if self.initial is None or not self.initial.is_on():
            return super().assign(inputs, image_ids)
        return self._assign_by(self.initial.assigner, self.initial_terms(), inputs, image_ids)
