"""``tools/new_config.py``: a config for a user's data, written after a look at it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .cli import positive_int, run_command, whole_number

if TYPE_CHECKING:
    from ..datasets.formats import DatasetContent
    from .config_choices import Choices

SYSTEMS = (
    'fcos', 'retinanet', 'atss', 'gfl', 'paa', 'tood', 'yolox', 'rtmdet', 'ppyoloe', 'yolov5',
    'yolov4', 'yolov3', 'ssd', 'centernet', 'faster_rcnn',
)  # fmt: skip


def new_config_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/new_config.py``."""
    parser = argparse.ArgumentParser(
        description='Look at a data set (COCO, VOC or YOLO text) and write a config for it.'
    )
    parser.add_argument('--train', required=True, help='COCO json, VOC list, or YOLO folder')
    parser.add_argument('--val', help='likewise; default: a fifth of the training images')
    parser.add_argument('--system', choices=SYSTEMS, default='fcos', help='default: fcos')
    parser.add_argument('--out', default='my_config.py', help='config to write')
    parser.add_argument('--images', metavar='DIR', help='folder of the images, if not found')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='these alone, in this order')
    parser.add_argument('--image-size', nargs=2, type=positive_int, metavar=('W', 'H'))
    parser.add_argument('--max-iters', type=positive_int, metavar='N', help='steps of training')
    parser.add_argument('--batch-size', type=positive_int, default=8)
    parser.add_argument('--no-flip', action='store_true', help='mirrored objects are others')
    parser.add_argument('--seed', type=whole_number, default=0, help='of the split without --val')
    parser.add_argument('--force', action='store_true', help='overwrite the config')
    return parser


def new_config(args: argparse.Namespace) -> None:
    """Look, choose, write, check, and say what was chosen and why."""
    from ..config import load_config
    from ..datasets.formats import read_dataset
    from ..errors import ConfigError
    from .config_choices import choose, describe_sizes, head_settings

    out = Path(args.out)
    if out.suffix != '.py':
        raise ConfigError(f'--out {out}: expected a name that ends in .py')
    if out.exists() and not args.force:
        raise ConfigError(f'--out {out}: is there already; --force overwrites it')
    train = read_dataset(args.train, images=args.images, classes=args.classes)
    nodes, val_images, train_images = _data_nodes(args, train, out)
    choices = choose(
        train_images,
        image_size=args.image_size,
        max_iters=args.max_iters,
        batch_size=min(args.batch_size, len(train_images)),
    )
    model, why = head_settings(args.system, train_images, choices, len(train.classes))
    counts = [sum(not o['ignore_flag'] for i in part for o in i['instances'])
              for part in (train_images, val_images)]  # fmt: skip
    about = [
        f'{args.train}: {train.kind}, {len(train.classes)} classes ({", ".join(train.classes)})',
        f'{len(train_images)} training images with {counts[0]} objects, '
        f'{len(val_images)} for validation with {counts[1]}',
        describe_sizes(train_images, choices),
        *choices.reasons,
        *why,
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    text = config_text(args.system, train.classes, nodes, choices, model, about, args.no_flip)
    out.write_text(text, encoding='utf-8')
    load_config(str(out))  # what was written is checked as any config is
    print('\n'.join(f'- {line}' for line in about))
    print(f'\n{out} is written. Next:')
    print(f'  python tools/browse_dataset.py {out}')
    print(f'  python tools/train.py {out}')


def _data_nodes(
    args: argparse.Namespace, train: DatasetContent, out: Path
) -> tuple[dict[str, dict], list[dict], list[dict]]:
    """The data set nodes of train and val, and the images of each.

    What this package reads is left where it is; YOLO text, and a training set that has to be
    split, become COCO jsons beside the config.
    """
    from ..datasets.convert import split_images, write_dataset
    from ..datasets.formats import read_dataset

    beside = out.parent / f'{out.stem}_data'
    if args.val is None:
        parts = split_images(train.images, dict(train=0.8, val=0.2), seed=args.seed)
        written = write_dataset(train, parts, 'coco', beside, place='none')
        nodes = {
            name: _coco_node(path, train.root) for name, path in zip(parts, written, strict=True)
        }
        return nodes, parts['val'], parts['train']
    val = read_dataset(args.val, images=args.images, classes=train.classes)
    nodes = {}
    for name, content in (('train', train), ('val', val)):
        if content.kind == 'yolo':
            (path,) = write_dataset(content, {name: content.images}, 'coco', beside, place='none')
            nodes[name] = _coco_node(path, content.root)
        elif content.kind == 'coco':
            nodes[name] = _coco_node(Path(content.source), content.root)
        else:
            nodes[name] = _voc_node(content)
    return nodes, val.images, train.images


def _shown(path: Path) -> str:
    """A path as the shell sees it: relative where it lies below the current folder."""
    absolute, here = path.absolute(), Path.cwd()
    return os.path.relpath(absolute, here) if here in absolute.parents else str(absolute)


def _coco_node(path: Path, root: Path) -> dict:
    return dict(type='CocoDataset', ann_file=_shown(path), data_prefix=dict(img=_shown(root)))


def _voc_node(content: DatasetContent) -> dict:
    from ..datasets.formats import voc_root

    source = Path(content.source)
    root = voc_root(source) or source
    node: dict = dict(
        type='VOCDataset',
        ann_file=_shown(source),
        data_prefix=dict(sub_data_root=_shown(root)),
    )
    if content.root != root / 'JPEGImages':
        node['img_subdir'] = os.path.relpath(content.root, root)
    if not (root / 'Annotations').is_dir():
        node['ann_subdir'] = '.'
    if source.is_dir() and (root / 'Annotations').is_dir():
        node['ann_file'] = _shown(root / 'Annotations')
    return node


def config_text(
    system: str,
    classes: Sequence[str],
    nodes: dict[str, dict],
    choices: Choices,
    model: dict,
    about: Sequence[str],
    no_flip: bool,
) -> str:
    """The config, as a person would write it."""
    load = 'CachedLoadImage' if choices.cached else 'LoadImageFromFile'
    flip = '' if no_flip else "    dict(type='RandomFlip', prob=0.5),\n"
    comments = '\n'.join(f'# - {line}' for line in about)
    # COCO's own file keeps the areas of its annotations; of other formats the samples do.
    coco = nodes['val']['type'] == 'CocoDataset'
    ann_file = f', ann_file={nodes["val"]["ann_file"]!r}' if coco else ''
    return f"""\
# Written by new_config after a look at the data; change what you like.
{comments}
_base_ = [
    'registry_losses::_base_/models/{system}_tiny.py',
    'registry_losses::_base_/schedules/schedule_tiny.py',
    'registry_losses::_base_/default_runtime.py',
]

metainfo = dict(classes={tuple(classes)!r})
image_size = {choices.image_size!r}

model = {_pretty(model)}

train_pipeline = [
    dict(type={load!r}),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
{flip}    # Moves and scales the image a little; the size stays.
    dict(
        type='RandomAffine',
        max_rotate_degree=0.0,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.75, 1.25),
        max_shear_degree=0.0,
    ),
    dict(type='RandomBrightnessContrast', brightness=24, contrast=0.2, prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type={load!r}),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size={choices.batch_size},
    num_workers=0,
    sampler=dict(type='KeyedSampler'),
    dataset=dict(
{_node(nodes['train'])}
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
{_node(nodes['val'])}
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# classwise: the AP of every class too.
val_evaluator = dict(type='CocoMetric'{ann_file}, classwise=True)
test_evaluator = val_evaluator

train_cfg = dict(max_iters={choices.max_iters}, val_interval={choices.val_interval})
default_hooks = dict(
    checkpoint=dict(
        interval={choices.val_interval}, save_best='coco/bbox_mAP', rule='greater'
    ),
    # Channels innermost: convolutions are a fifth faster on a CPU.
    channels_last=dict(type='ChannelsLastHook'),
)
"""


def _pretty(value: object, indent: int = 0) -> str:
    """A value as a person writes it: ``dict(key=...)``, one key a line, 1e8 for a large float."""
    if isinstance(value, dict):
        line = 'dict(' + ', '.join(f'{key}={_pretty(v)}' for key, v in value.items()) + ')'
        if '\n' not in line and len(line) + indent <= 80:
            return line
        pad = ' ' * (indent + 4)
        rows = [f'{pad}{key}={_pretty(v, indent + 4)},' for key, v in value.items()]
        return 'dict(\n' + '\n'.join(rows) + '\n' + ' ' * indent + ')'
    if isinstance(value, (list, tuple)):
        inner = ', '.join(_pretty(v, indent) for v in value)
        if isinstance(value, list):
            return f'[{inner}]'
        return f'({inner},)' if len(value) == 1 else f'({inner})'
    if isinstance(value, float) and value >= 1e6:
        return f'{value:.0e}'.replace('e+0', 'e')
    return repr(value)


def _node(node: dict) -> str:
    return '\n'.join(f'        {key}={value!r},' for key, value in node.items())


def new_config_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/new_config.py``."""
    run_command(new_config_parser(), new_config, argv)
