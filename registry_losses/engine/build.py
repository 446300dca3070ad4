"""A model from a config, outside a runner."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ..config import load_config
from ..registry import MODELS


def build_model(
    config: str | os.PathLike | Config, *, options: dict[str, Any] | None = None
) -> nn.Module:
    """Build the model of a config, with its plugins loaded and its keys checked.

    Args:
        config: A path, a ``registry_losses::`` name, or a config.
        options: Dotted keys that override the config's.

    Raises:
        ConfigError: If the config is wrong.
        PairingError: If its parts cannot work together.

    Example:
        >>> model = build_model('registry_losses::retinanet/retinanet_tiny_digits.py')
        >>> type(model.bbox_head).__name__
        'RetinaHead'
    """
    cfg = load_config(config, options=options)
    # Classes of MMEngine build their own parts (the data preprocessor) from the root registry,
    # which finds ours by this scope.
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)
