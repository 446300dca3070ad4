"""The size of the images that a config's network is fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config


def input_size(cfg: Config, wanted: Sequence[int] | None) -> tuple[int, int]:
    """(W, H): what was asked for, else what the test pipeline resizes to, for the strides.

    Args:
        cfg: The config.
        wanted: (W, H), or None.

    Raises:
        ConfigError: If the size does not suit the network, or the pipeline says none.
    """
    from .detector import inference_pipeline

    preprocess = cfg.model.get('data_preprocessor') or {}
    divisor = preprocess.get('pad_size_divisor', 32)
    if wanted is not None:
        if any(side % divisor for side in wanted):
            near = ' '.join(str(-(-side // divisor) * divisor) for side in wanted)
            raise ConfigError(
                f'--image-size {" ".join(map(str, wanted))}: expected multiples of {divisor}, '
                f'as model.data_preprocessor.pad_size_divisor says; nearest: {near}'
            )
        return wanted[0], wanted[1]
    found = None
    for node in inference_pipeline(cfg):
        size = node.get('scale', node.get('size', node.get('img_scale')))
        if isinstance(size, int):
            size = (size, size)
        if size is not None and len(size) == 2:
            found = size
    if found is None:
        raise ConfigError(
            'test_dataloader.dataset.pipeline: resizes to no size; say which with --image-size W H'
        )
    width, height = (-(-int(side) // divisor) * divisor for side in found)
    return width, height
