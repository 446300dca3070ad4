"""``tools/visualize_assignments.py``: what assigners make of a config's images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .cli import OWN_ASSIGNER, add_cfg_options, add_trust, positive_int, run_command, whole_number

LEAST_PANEL = 64  # pixels; names and counts need them


def visualize_assignments_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/visualize_assignments.py``."""
    parser = argparse.ArgumentParser(
        description='Draw what assigners make positive, soft and ignored, level by level.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument(
        '--assigners',
        nargs='+',
        default=[OWN_ASSIGNER],
        metavar='NAME',
        help='assigners to compare, such as ATSS or "SimOTA(center_radius=1.5)"; '
        f'"{OWN_ASSIGNER}" is the one of the config (default)',
    )
    parser.add_argument(
        '--images',
        nargs='+',
        default=[],
        metavar='IMAGE',
        help='numbers or file names of images of the validation set (default: the first ones)',
    )
    parser.add_argument(
        '--num', type=positive_int, default=4, help='how many images without --images'
    )
    parser.add_argument(
        '--synthetic', action='store_true', help='draw rectangles in place of the data set'
    )
    parser.add_argument(
        '--synthetic-size',
        type=positive_int,
        default=640,
        metavar='PIXELS',
        help='side of such an image',
    )
    parser.add_argument(
        '--checkpoint',
        help='weights; assigners that look at predictions see an untrained head without them',
    )
    parser.add_argument(
        '--sampled', action='store_true', help="let the config's sampler choose afterwards"
    )
    parser.add_argument(
        '--out', default='work_dirs/assignments', metavar='DIR', help='where pages go'
    )
    parser.add_argument('--columns', type=positive_int, default=5, help='assigners a page')
    parser.add_argument('--panel', type=int, default=256, help='side of a panel in pixels')
    parser.add_argument('--seed', type=whole_number, default=0)
    add_trust(parser)
    add_cfg_options(parser, 'model.test_cfg.score_thr=0.1')
    return parser


def visualize_assignments(args: argparse.Namespace) -> None:
    """Draw and tabulate as the arguments say."""
    from mmengine.registry import init_default_scope

    from ..config import load_config
    from ..errors import ConfigError
    from ..visualization.draw import write_rgb
    from .assignment_looks import (
        build_model,
        dataset_items,
        look,
        main_head,
        pages,
        stage_assigners,
        synthetic_items,
        tables_of,
    )
    from .detector import class_names
    from .tables import print_table, table_console

    if args.panel < LEAST_PANEL:
        raise ConfigError(f'--panel: expected at least {LEAST_PANEL} pixels, got {args.panel}')
    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    model, meta = build_model(cfg, args.checkpoint, args.seed)
    if args.synthetic:
        size = (args.synthetic_size, args.synthetic_size)
        items = synthetic_items(args.num, size, main_head(model).num_classes, args.seed)
    else:
        items = dataset_items(cfg, args.images, args.num)
    assigners = stage_assigners(model, args.assigners)
    # Image by image; of each, one look a head.
    looks = [look(model, item, assigners, sampled=args.sampled) for item in items]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    console, written, texts = table_console(), [], []
    for looked in (each for of_image in looks for each in of_image):
        stage = f'_{looked.stage}' if looked.stage else ''
        for number, page in enumerate(pages(looked, args.columns, args.panel)):
            suffix = f'_{number + 1}' if len(looked.found) > args.columns else ''
            written.append(out / f'{looked.name}{stage}{suffix}.png')
            write_rgb(str(written[-1]), page)
    for of_stage in zip(*looks):
        stage = of_stage[0].stage
        if stage:
            texts.append(f'## {stage}\n')
            console.print(f'{stage}:', markup=False)
        for table in tables_of(of_stage, class_names(cfg, meta)):
            texts.append(table.markdown())
            print_table(console, table)
        for name, found in of_stage[0].found.items():
            if isinstance(found, str):
                console.print(f'{name}: {found}', markup=False)
    text = '\n'.join(texts)
    (out / 'tables.md').write_text(f'# Assignments of {args.config}\n\n{text}', encoding='utf-8')
    console.print(f'{len(written)} page(s) and tables.md: {out}', markup=False)


def visualize_assignments_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/visualize_assignments.py``."""
    run_command(visualize_assignments_parser(), visualize_assignments, argv)
