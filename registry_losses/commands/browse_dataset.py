"""``tools/browse_dataset.py``: what a model is shown, augmented, with its boxes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .cli import add_cfg_options, positive_int, run_command, whole_number


def browse_dataset_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/browse_dataset.py``."""
    parser = argparse.ArgumentParser(
        description="Draw sheets of a config's images as the model gets them, with boxes."
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('--part', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--num', type=positive_int, default=24, help='images (default 24)')
    parser.add_argument('--repeats', type=positive_int, default=1, help='of each, augmented anew')
    parser.add_argument('--columns', type=positive_int, default=4)
    parser.add_argument('--rows', type=positive_int, default=3, help='a sheet (default 3)')
    parser.add_argument('--cell', type=positive_int, default=320, help='pixels of an image')
    parser.add_argument('--seed', type=whole_number, default=0)
    parser.add_argument('--out', default='work_dirs/browse', metavar='DIR')
    add_cfg_options(parser, 'train_dataloader.dataset.pipeline.3.prob=1')
    return parser


def browse_dataset(args: argparse.Namespace) -> None:
    """Draw images spread over the data set."""
    import numpy as np
    from mmengine.registry import init_default_scope

    from ..config import load_config
    from ..datasets import SampleKey
    from ..errors import ConfigError
    from ..registry import DATASETS
    from ..visualization.browse import draw_samples

    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    loader = cfg.get(f'{args.part}_dataloader')
    if not loader:
        raise ConfigError(f'the config has no {args.part}_dataloader')
    dataset = DATASETS.build(loader['dataset'])
    count = min(args.num, len(dataset))
    places = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    samples = [
        dataset[SampleKey(place, seed=args.seed, epoch=epoch)]
        for place in places
        for epoch in range(args.repeats)
    ]
    classes = dataset.metainfo.get('classes')
    each = args.columns * args.rows
    written = []
    for number, begin in enumerate(range(0, len(samples), each), 1):
        path = Path(args.out) / f'{args.part}_{number:02d}.png'
        part = samples[begin : begin + each]
        options = dict(classes=classes, columns=args.columns, cell=args.cell)
        written.append(draw_samples(part, path, **options))
    print(f'{count} of {len(dataset)} images: ' + ', '.join(str(p) for p in written))


def browse_dataset_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/browse_dataset.py``."""
    run_command(browse_dataset_parser(), browse_dataset, argv)
