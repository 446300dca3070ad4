"""The first part of a training, which may have an assigner of its own.

Assigners that look at predictions have little to look at in the beginning.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.logging import MessageHub

from ..assigners import BaseAssigner, wrap_assigner
from ..errors import ConfigError
from ..registry import TASK_UTILS
from .building import build

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
        """Whether the training is still in its first part; outside of trainings it is."""
        if self.epoch is not None:
            return self.epoch < self.until
        hub = MessageHub.get_current_instance()
        if self.until < 1:
            done, whole = hub.get_info('iter', 0) or 0, hub.get_info('max_iters', 0) or 0
            return done < self.until * whole or not whole
        return (hub.get_info('epoch', 0) or 0) < self.until
