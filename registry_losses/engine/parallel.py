"""Models of which every rank trains a copy, on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import MMDistributedDataParallel
from torch import nn

from ..registry import MODEL_WRAPPERS
from .sharding import asks_for_sharding
from .sync_batch_norm import synchronize_batch_norms


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """Distributed training of a model on the CPU.

    Stands for MMEngine's wrapper, to which the runner always passes ``device_ids``:
    PyTorch refuses them for a module that is not on a GPU.

    Args:
        module: The model.
        device_ids: Ignored.
        **options: As of ``torch.nn.parallel.DistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, **options: Any) -> None:
        super().__init__(module=module, device_ids=None, **options)


def wrap_on_cpu(
    model: nn.Module, model_wrapper_cfg: Mapping[str, Any] | None, cfg: Any
) -> nn.Module:
    """Wrap a model for processes that train on the CPU.

    Args:
        model: The model.
        model_wrapper_cfg: Options of DistributedDataParallel, or another wrapper's node.
        cfg: ``sync_bn`` and ``find_unused_parameters`` are read.
    """
    if cfg.get('sync_bn') is not None:
        model = synchronize_batch_norms(model)
    if asks_for_sharding(model_wrapper_cfg):
        return MODEL_WRAPPERS.build(dict(model_wrapper_cfg or {}, module=model))
    options: dict[str, Any] = dict(
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    options.update(model_wrapper_cfg or {})
    options.pop('type', None)
    return CPUDistributedDataParallel(model, **options)
