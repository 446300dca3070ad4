"""``tools/convert_dataset.py``: a data set from one format to another, and split."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import run_command, whole_number


def convert_dataset_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/convert_dataset.py``."""
    parser = argparse.ArgumentParser(
        description='Convert a data set between COCO json, VOC XML and YOLO text; split it.'
    )
    parser.add_argument(
        'source',
        help='COCO json; VOC list or folder; YOLO folder or list of images. The format is found'
        ' by itself',
    )
    parser.add_argument('--to', choices=('coco', 'voc', 'yolo'), default='coco')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write')
    parser.add_argument('--images', metavar='DIR', help='folder of the images, if not found')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='names, in this order')
    parser.add_argument(
        '--split',
        nargs='+',
        type=_share,
        metavar='NAME=SHARE',
        default=[('all', 1.0)],
        help='parts drawn by image, e.g. train=0.8 val=0.2; default: all together',
    )
    parser.add_argument('--seed', type=whole_number, default=0, help='of the split (default 0)')
    parser.add_argument(
        '--place',
        choices=('link', 'copy', 'none'),
        default='link',
        help="how images get into DIR; 'none' (COCO alone) leaves them where they are",
    )
    return parser


def _share(text: str) -> tuple[str, float]:
    name, found, share = text.partition('=')
    try:
        return (name, float(share)) if found and name else _no_share(text)
    except ValueError:
        return _no_share(text)


def _no_share(text: str) -> tuple[str, float]:
    raise argparse.ArgumentTypeError(f'expected NAME=SHARE such as train=0.8, got {text!r}')


def convert_dataset(args: argparse.Namespace) -> None:
    """Read, split, write, and say what was written."""
    from ..datasets.convert import split_images, write_dataset
    from ..datasets.formats import read_dataset

    content = read_dataset(args.source, images=args.images, classes=args.classes)
    parts = split_images(content.images, dict(args.split), seed=args.seed)
    written = write_dataset(content, parts, args.to, args.out, place=args.place)
    print(f'{args.source}: {content.kind}, classes {", ".join(content.classes)}')
    for name, images in parts.items():
        flags = [i['ignore_flag'] for image in images for i in image['instances']]
        ignored = f' and {sum(flags)} ignore regions' if sum(flags) else ''
        print(f'{name}: {len(images)} images, {len(flags) - sum(flags)} objects{ignored}')
    if args.to == 'yolo' and any('weight' in i for im in content.images for i in im['instances']):
        print('Weights of objects are left out: YOLO text has no place for them.')
    if args.place == 'none':
        print(f'Images: {content.root}')
    print('Written: ' + ', '.join(str(path) for path in written))


def convert_dataset_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/convert_dataset.py``."""
    run_command(convert_dataset_parser(), convert_dataset, argv)
