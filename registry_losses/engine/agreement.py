"""Whether the ranks of a training do the same, and what to say when one is gone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sized
from typing import Any

from mmengine.dist import all_gather_object, is_distributed
from torch import distributed as torch_dist

from ..errors import ConfigError
from .weights import without_pretrained

# Of gloo; with nccl the launcher, or its watchdog, ends the ranks.
_LOST = (
    'Connection closed by peer',
    'Connection reset by peer',
    'Broken pipe',
    'Timed out waiting',
)


def lost_rank(error: BaseException) -> str | None:
    """What to say where another rank has ended or hangs; None for any other error."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not any(words in text for words in _LOST):
        return None
    rank, size = torch_dist.get_rank(), torch_dist.get_world_size()
    return (
        f'rank {rank} of {size}: another rank has ended, or has not answered in time'
        f' ({text.splitlines()[0]}). The message of that rank says why; the same command with'
        ' --resume goes on from the last checkpoint.'
    )


def check_ranks_agree(settings: Mapping[str, Any]) -> None:
    """Compare what decides the steps of a training, on all ranks.

    Ranks that differ would wait for each other, or learn from gradients of other models.

    Args:
        settings: What has to be the same; compared as text.

    Raises:
        ConfigError: On every rank, with the first ranks that differ and what they say.
    """
    if not is_distributed():
        return
    own = {key: str(value) for key, value in settings.items()}
    found = all_gather_object(own)
    for rank, other in enumerate(found):
        for key, value in found[0].items():
            if other.get(key) != value:
                first, second = _where_they_differ(value, other.get(key, 'nothing'))
                raise ConfigError(
                    f'{key} is not the same on all ranks: {first} on rank 0, {second} on rank'
                    f' {rank}. Do all hosts have the same config, options and data?'
                )


def _where_they_differ(one: str, two: str, around: int = 60) -> tuple[str, str]:
    shorter = min(len(one), len(two))
    same = next((i for i in range(shorter) if one[i] != two[i]), shorter)
    begin = max(same - around // 2, 0)
    cuts = [text[begin : same + around] for text in (one, two)]
    return (
        f'{"..." if begin else ""}{cuts[0]}{"..." if len(one) > same + around else ""}',
        f'{"..." if begin else ""}{cuts[1]}{"..." if len(two) > same + around else ""}',
    )


def training_settings(runner: Any) -> dict[str, Any]:
    """What :func:`check_ranks_agree` compares of a runner whose training loop is built."""
    loader = runner.train_dataloader
    nodes = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr')
    return {
        # Where pretrained weights lie may differ; rank 0 sends them to all.
        'model': without_pretrained(runner.cfg.get('model')),
        **{key: runner.cfg.get(key) for key in nodes},
        # As torchrun of each host was told; it takes the word of the first for the number of ranks.
        'NNODES': os.environ.get('GROUP_WORLD_SIZE'),
        'train_dataloader.batch_size': loader.batch_size,
        'the number of training images': (
            len(loader.dataset) if isinstance(loader.dataset, Sized) else None
        ),
    }
