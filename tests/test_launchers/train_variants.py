"""Trains a small digits config in many ways in turn: ``train_variants.py OUT W NAME...``.

By itself one process with the whole batch; as one rank of a torchrun, W that share it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from mmengine.hooks import Hook

from registry_losses import load_parts
from registry_losses.commands.run_config import build_runner
from registry_losses.commands.train import train_config, train_parser
from tests.test_launchers.runs import options, train_words

EMA = "custom_hooks=[dict(type='EMAHook', momentum=0.1)]"
CLIP = 'optim_wrapper.clip_grad=dict(max_norm=1.0)'
AMP = 'optim_wrapper.type=AmpOptimWrapper'
SHARD = "model_wrapper_cfg=dict(type='FullyShard')"
ADAM = (
    "optim_wrapper.optimizer=dict(_delete_=True, type='AdamW', lr=0.001, eps=0.001,"
    ' weight_decay=0.05)'
)


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        options: ``--cfg-options``.
        arguments: Other arguments.
        alike: The variant that one process trains for comparison; by default this one.
        tolerance: Norm of the difference of the weights from those of one process, over the
            norm of what that one learnt. Half precision rounds the sums of each rank.
    """

    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    alike: str | None = None
    tolerance: float = 1e-4


VARIANTS = {
    'plain': Variant(),
    'accumulated': Variant(('optim_wrapper.accumulative_counts=2', CLIP)),
    'averaged weights': Variant((EMA,)),
    'bfloat16': Variant((AMP,), tolerance=0.1),
    'float16': Variant((AMP, 'optim_wrapper.dtype=float16', CLIP), tolerance=0.1),
    'batch norm over all ranks': Variant(('sync_bn=torch',), tolerance=1e-3),
    # At half the rate, scaled or given, rounding turns a choice over: 1.4e-4.
    'scaled rate': Variant(('auto_scale_lr.base_batch_size=16',), ('--auto-scale-lr',)),
    'sharded': Variant((SHARD,), alike='plain'),
    'sharded, AdamW, clipped': Variant((SHARD, ADAM, CLIP), alike='AdamW, clipped'),
    'AdamW, clipped': Variant((ADAM, CLIP)),
    'sharded, bfloat16': Variant((SHARD, AMP), alike='bfloat16', tolerance=0.1),
    'sharded, accumulated': Variant(
        (SHARD, 'optim_wrapper.accumulative_counts=2', CLIP), alike='accumulated'
    ),
}


class _KeepStart(Hook):
    """Writes the weights that the training begins with to ``start.pt`` of its folder."""

    def before_train(self, runner: Any) -> None:
        state = runner.model.state_dict()
        torch.save(state, Path(runner.work_dir) / 'start.pt')


def folder(out: Path, name: str, ranks: int) -> Path:
    """The work directory of a variant."""
    return out / f'{name.replace(", ", "_").replace(" ", "_")}-{ranks}'


def words(out: Path, name: str, ranks: int, more: Sequence[str] = ()) -> list[str]:
    """Arguments of ``tools/train.py``; ``more`` come before ``--cfg-options``."""
    variant = VARIANTS[name]
    data = options(out / 'digits')
    if 'sync_bn=torch' in variant.options:
        data = [option for option in data if 'norm_cfg' not in option]
    more = [*more, *variant.arguments, *(['--launcher', 'pytorch'] if ranks > 1 else [])]
    chosen = [*data, *variant.options, f'experiment_name=variant{crc32(name.encode())}']
    return train_words(folder(out, name, ranks), chosen, processes=ranks, more=more)


def main() -> None:
    """Train."""
    out, ranks, *names = sys.argv[1:]
    load_parts()
    for name in names or VARIANTS:
        args = train_parser().parse_args(words(Path(out), name, int(ranks)))
        runner = build_runner(train_config(args))
        if int(ranks) == 1:
            runner.register_hook(_KeepStart())
        runner.train()


if __name__ == '__main__':
    main()
