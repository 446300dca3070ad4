"""``tools/check_config.py``: what a config pairs, before any training."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .cli import add_cfg_options, positive_int, run_command, whole_number


def check_config_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/check_config.py``."""
    parser = argparse.ArgumentParser(
        description='Build a config, run one forward and backward pass, and show what it pairs. '
        'Exit status 1 where the config is refused or a loss is not finite.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument(
        '--data',
        action='store_true',
        help='look at the first batch of the training data in place of synthetic images',
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=positive_int,
        metavar=('HEIGHT', 'WIDTH'),
        help='of synthetic images in pixels (default: as the training pipeline resizes)',
    )
    parser.add_argument(
        '--batch', type=positive_int, default=2, help='synthetic images (default 2)'
    )
    parser.add_argument(
        '--seed', type=whole_number, default=0, help='of weights and synthetic images'
    )
    add_cfg_options(parser, '"model.train_cfg.assigner=dict(type=\'ATSSAssigner\')"')
    return parser


def check_config(args: argparse.Namespace) -> None:
    """Build, run one pass, print.

    Raises:
        NonFiniteLossError: If a loss or gradient is not finite.
    """
    import torch
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    from ..config import load_config
    from ..config.schedule import Length, misfits
    from ..engine.weights import without_pretrained
    from ..errors import NonFiniteLossError
    from ..registry import MODELS
    from .assignment_looks import main_head
    from .inspection import epoch_length, first_batch, inspect_model, synthetic_batch, training_size
    from .inspection_tables import (
        gradient_table,
        idle_parts,
        level_table,
        pairing_table,
        size_table,
        stage_config,
        term_table,
        warnings_of,
    )
    from .tables import print_table, table_console

    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(args.seed)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    model: Any = MODELS.build(without_pretrained(cfg.model))
    model.init_weights()
    console = table_console()
    if args.data:
        data, what = first_batch(cfg, model), 'first batch of the training data'
    else:
        size = tuple(args.size) if args.size else training_size(cfg)
        classes = main_head(model).num_classes
        data = synthetic_batch(size, classes, batch=args.batch, seed=args.seed)
        what = f'{args.batch} synthetic images of {size[0]} x {size[1]}'
    stages = inspect_model(model, data)
    console.print(f'{args.config}: {type(model).__name__}, {what}', markup=False)
    wrong, notes = [], []
    for found in stages:
        if len(stages) > 1:
            console.print(f'{type(found.head).__name__}:', markup=False)
        pairing = pairing_table(found.head, stage_config(cfg.model, found.name))
        for table in (pairing, term_table(found), level_table(found), size_table(found)):
            print_table(console, table)
        wrong += [name for name, value in found.losses.items() if not _finite(value)]
        notes += warnings_of(found)
    print_table(console, gradient_table(found))
    wrong += [part for part, (_, norm, _) in found.gradients.items() if not _finite(norm)]
    if wrong:
        raise NonFiniteLossError(f'{args.config}: not finite: {", ".join(wrong)}')
    length = Length.of(cfg.get('train_cfg'))
    if length and args.data:
        length = replace(length, epoch_length=epoch_length(cfg))
    fit = misfits(cfg.get('param_scheduler'), length) if length else []
    for note in [*fit, *notes, *idle_parts(found)]:
        console.print(f'note: {note}', markup=False)
    total = sum(value for each in stages for value in each.losses.values())
    console.print(f'The config builds and trains: total loss {total:.4g}, all gradients finite.')


def _finite(value: float) -> bool:
    return value - value == 0


def check_config_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/check_config.py``."""
    run_command(check_config_parser(), check_config, argv)
