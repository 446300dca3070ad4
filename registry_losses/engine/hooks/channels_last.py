"""Convolutions with the channels innermost, which CPUs and tensor cores are faster at."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ...errors import ConfigError
from ...registry import HOOKS
from ..layout import is_laid_out, lay_out
from ..sharding import is_sharded


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Lay the weights out with the channels innermost before a run starts.

    Convolutions take their memory layout from their weights, so the maps between them
    follow. Values, initial weights, state dicts and checkpoints stay what they are: only
    strides change, and sums are rounded in another order. Weights that ranks share out
    (FSDP) keep the usual layout.

    Our runner lays the model out before it is wrapped for distributed training, since
    DistributedDataParallel averages the first gradients wrongly when strides change later.

    Raises:
        ConfigError: If another runner has wrapped the model in the usual layout.
    """

    # Before EMAHook copies the model and before a checkpoint's values are read into it.
    priority = 'VERY_HIGH'

    def before_run(self, runner: Any) -> None:
        """See :class:`ChannelsLastHook`."""
        model = runner.model
        if is_sharded(model) or is_laid_out(model):
            return
        if is_model_wrapper(model):
            raise ConfigError(
                f'ChannelsLastHook: {type(model).__name__} holds the model in the usual layout '
                'and would average its first gradients wrongly in another. Train with '
                'registry_losses.engine.Runner (tools/train.py), or call '
                'model.to(memory_format=torch.channels_last) before it is wrapped'
            )
        lay_out(model)
