"""``tools/fit_anchors.py``: anchors for the boxes of a data set, and how well they fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import positive_int, run_command, whole_number


def fit_anchors_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/fit_anchors.py``."""
    parser = argparse.ArgumentParser(
        description='Fit anchors to the boxes of a data set (COCO, VOC or YOLO text).'
    )
    parser.add_argument('source', help='COCO json; VOC list or folder; YOLO folder')
    parser.add_argument('--images', metavar='DIR', help='folder of the images, if not found')
    parser.add_argument(
        '--image-size',
        nargs=2,
        type=positive_int,
        metavar=('W', 'H'),
        help='images are fitted into this, their ratio kept; default: as they are',
    )
    parser.add_argument('--count', type=positive_int, default=9, help='anchors (default 9)')
    parser.add_argument('--strides', nargs='+', type=positive_int, default=[8, 16, 32])
    parser.add_argument('--seed', type=whole_number, default=0)
    return parser


def fit_anchors(args: argparse.Namespace) -> None:
    """Fit, and print what to write into a config."""
    import numpy as np

    from ..datasets.formats import read_dataset
    from ..errors import ConfigError
    from ..priors.fitting import best_recall, fit_grid_anchors, fit_regress_ranges, shape_iou
    from ..priors.fitting import fit_anchors as fit
    from .box_sizes import box_sizes

    if args.count % len(args.strides):
        raise ConfigError(
            f'--count {args.count}: expected a multiple of the {len(args.strides)} strides'
        )
    content = read_dataset(args.source, images=args.images)
    sizes = box_sizes(content.images, args.image_size)
    anchors = fit(sizes, args.count, seed=args.seed)
    overlaps = shape_iou(sizes, anchors).max(1)
    low, middle, high = np.quantile(sizes.prod(1) ** 0.5, [0.05, 0.5, 0.95])
    print(
        f'{len(sizes)} boxes, sides (root of the area) {low:.0f} to {high:.0f}, half {middle:.0f}'
    )
    each = args.count // len(args.strides)
    print('\nYOLO (YOLOAnchorGenerator), finest stride first:')
    print('  base_sizes=[')
    for i in range(len(args.strides)):
        row = anchors[i * each : (i + 1) * each].round().astype(int).tolist()
        print(f'      {[tuple(pair) for pair in row]},')
    print(f'  ], strides={args.strides}')
    print(f'  best possible recall {best_recall(sizes, anchors):.3f} at IoU 0.5, '
          f'mean IoU {overlaps.mean():.3f}')  # fmt: skip
    grid = fit_grid_anchors(sizes, args.strides)
    print('\nRetinaNet, ATSS, SSD, RPN (AnchorGenerator):')
    print(f'  octave_base_scale={grid.octave_base_scale}, scales_per_octave=3, '
          f'ratios={list(grid.ratios)}, strides={args.strides}')  # fmt: skip
    print(f'  best possible recall {grid.recall:.3f} at IoU 0.5, mean IoU {grid.mean_iou:.3f}')
    print('\nFCOS (FCOSAssigner):')
    print(f'  regress_ranges={fit_regress_ranges(sizes, args.strides)}')


def fit_anchors_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/fit_anchors.py``."""
    run_command(fit_anchors_parser(), fit_anchors, argv)
