"""``tools/visualize_assignments.py``: what assigners make of a config's images.

Shapes: B images, N priors, M gts.
"""

from __future__ import annotations

import argparse
import ast
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rich.table import Table as RichTable
from torch import nn

from ..assigners import BaseAssigner, WrappedAssigner, wrap_assigner
from ..config import ConfigOption, load_config
from ..config.reading import accepted_keys
from ..errors import ConfigError, DataError, RegistryLossesError, nearest_names
from ..registry import DATASETS, MODELS, TASK_UTILS
from ..structures import Assignment, DetDataSample, GroundTruth, Priors
from ..visualization import Counts, Table, count_tables, draw_assignments, gt_table
from ..visualization.draw import write_rgb
from .cli import positive_int, run_command, table_console
from .infer import _without_init, class_names, load_weights

OWN = 'config'
LEAST_PANEL = 64  # pixels; names and counts need them
# Arguments of assigners that have no default: those of the systems they come from.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    'GridAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0),
    'UniformAssigner': dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
}


# --- Which assigners ---------------------------------------------------------------------


def assigner_names() -> list[str]:
    """The registered assigners that a name can build."""
    found = {k: v for k, v in TASK_UTILS.module_dict.items() if k.endswith('Assigner')}
    return [k for k, v in found.items() if v is not WrappedAssigner and hasattr(v, 'assign')]


def parse_assigner(text: str) -> tuple[str, dict[str, Any]]:
    """``SimOTA`` or ``SimOTAAssigner(center_radius=1.5)`` as a name and a config node.

    Raises:
        ConfigError: If there is no such assigner, or the arguments are not literals.
    """
    name, bracket, _ = text.partition('(')
    kind = name if name.endswith('Assigner') else f'{name}Assigner'
    known = assigner_names()
    if kind not in known:
        near = nearest_names(kind, known)
        hint = f'; nearest: {", ".join(near)}' if near else ''
        raise ConfigError(f'--assigners: no assigner {name!r}{hint}')
    given = {}
    if bracket:
        try:
            call = ast.parse(text, mode='eval').body
            given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}  # type: ignore[attr-defined]
        except (SyntaxError, ValueError, AttributeError) as error:
            raise ConfigError(
                f'--assigners: expected NAME or NAME(key=value, ...), got {text!r}'
            ) from error
    return text.replace('Assigner', ''), dict(PRESETS.get(kind, {}), **given, type=kind)


def build_assigners(names: Sequence[str], own: Any) -> dict[str, BaseAssigner]:
    """The assigners to compare, by what to call them."""
    found: dict[str, BaseAssigner] = {}
    for name in names:
        if name == OWN:
            if own is None:
                raise ConfigError('--assigners config: the config trains without an assigner')
            found[f'{type(own).__name__.replace("Assigner", "")} (config)'] = own
        else:
            label, node = parse_assigner(name)
            keys = accepted_keys(TASK_UTILS.get(node['type']))
            for key in [] if keys.open else sorted(set(node) - {'type', *keys.names}):
                near = ', '.join(nearest_names(key, keys.names) or sorted(keys.names))
                raise ConfigError(f'--assigners {name}: no option {key!r}; nearest: {near}')
            found[label] = wrap_assigner(TASK_UTILS.build(node))
    return found


# --- Which images ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Item:
    """One image with its annotations, as a pipeline packs them."""

    name: str
    data: dict


def dataset_items(cfg: Config, wanted: Sequence[str], count: int) -> list[Item]:
    """Images of the config's validation set.

    Args:
        cfg: The config.
        wanted: Numbers of images in the set, or file names; none for the first ones.
        count: How many, when none is wanted by name.

    Raises:
        ConfigError: If the config has no data set to look at.
        DataError: If an image is not in the set.
    """
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or cfg.get('train_dataloader')
    if not loader:
        raise ConfigError('the config has no data set to look at; --synthetic draws one')
    dataset = DATASETS.build(loader['dataset'])
    if wanted:
        indices = [_index_of(dataset, name) for name in wanted]
    else:
        indices = list(range(min(count, len(dataset))))
    items = []
    for index in indices:
        data = dataset[index]
        path = data['data_samples'].metainfo.get('img_path')
        items.append(Item(Path(path).stem if path else str(index), data))
    return items


def _index_of(dataset: Any, name: str) -> int:
    if name.isdigit():
        if int(name) < len(dataset):
            return int(name)
        raise DataError(f'--images {name}: the data set has {len(dataset)} images')
    for index in range(len(dataset)):
        path = Path(dataset.get_data_info(index).get('img_path', ''))
        if path.name == Path(name).name or path.stem == name:
            return index
    raise DataError(f'--images {name}: no image of that name in the data set')


def synthetic_items(count: int, size: tuple[int, int], num_classes: int, seed: int) -> list[Item]:
    """Drawn rectangles of all sizes, for configs whose data is not at hand."""
    items = []
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        number = int(rng.integers(3, 9))
        image = rng.normal(110, 12, (*size, 3))
        longest = max(size)
        side = longest * np.exp(rng.uniform(np.log(0.03), np.log(0.6), (number, 1)))
        side = side * np.exp(rng.uniform(-0.5, 0.5, (number, 2)))
        center = rng.uniform(0, 1, (number, 2)) * [size[1], size[0]]
        boxes = np.concatenate((center - side / 2, center + side / 2), axis=1)
        boxes = np.clip(boxes, 0, [size[1], size[0]] * 2)
        for x1, y1, x2, y2 in boxes[np.argsort(-side.prod(axis=1))].astype(int):
            image[y1:y2, x1:x2] = rng.uniform(60, 240, 3)
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_id=i))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.from_numpy(rng.integers(0, num_classes, number)),
        )
        pixels = torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))
        data = dict(inputs=pixels.permute(2, 0, 1).contiguous(), data_samples=sample)
        items.append(Item(f'synthetic_{i}', data))
    return items


# --- Looking -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Look:
    """One image: what every assigner makes of it, or why it cannot."""

    name: str
    image: np.ndarray
    priors: Priors
    gt: GroundTruth
    found: dict[str, Assignment | str]


def build_model(cfg: Config, checkpoint: str | None, seed: int) -> tuple[Any, dict]:
    """The config's detector as in training, and the checkpoint's ``meta``.

    Batch norm keeps its statistics: those of one image would be no good.
    """
    torch.manual_seed(seed)
    # How each layer is initialised is of no interest here.
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    model: Any = MODELS.build(_without_init(cfg.model))
    model.init_weights()
    meta = load_weights(model, checkpoint) if checkpoint else {}
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model, meta


def head_of(model: nn.Module) -> Any:
    """The dense head of a detector, or its region proposal head.

    Raises:
        ConfigError: If it has neither.
    """
    for name in ('bbox_head', 'rpn_head', 'head'):
        head = getattr(model, name, None)
        if head is not None and hasattr(head, 'prior_generator'):
            return head
    raise ConfigError(f'{type(model).__name__} has no head that lays priors')


@torch.no_grad()
def look(
    model: nn.Module, item: Item, assigners: Mapping[str, BaseAssigner], *, sampled: bool = False
) -> Look:
    """Assign one image by every assigner.

    Args:
        model: The detector; in training mode, so that priors are those of training.
        item: The image.
        assigners: Name to assigner.
        sampled: Let the config's sampler choose afterwards.
    """
    head = head_of(model)
    pixels = item.data['inputs']
    # Without the random augmentation of batches, which belongs to training.
    batch = model.data_preprocessor(  # type: ignore[operator]
        dict(inputs=[pixels], data_samples=[item.data['data_samples']]), training=False
    )
    samples = batch['data_samples']
    maps = head.raw_maps(model.extract_feat(batch['inputs']))  # type: ignore[operator]
    gt = GroundTruth.from_data_samples(samples, device=batch['inputs'].device)
    kept = head.assigner, head.sampler
    if not sampled:
        head.sampler = TASK_UTILS.build(dict(type='PseudoSampler'))
    found: dict[str, Assignment | str] = {}
    try:
        for name, assigner in assigners.items():
            head.assigner = assigner
            try:
                inputs = head.loss_inputs(maps, gt)
                found[name], priors = inputs.assignment, inputs.priors
            except RegistryLossesError as error:
                found[name] = str(error)
        if all(isinstance(value, str) for value in found.values()):
            raise ConfigError('no assigner fits: ' + '; '.join(str(v) for v in found.values()))
    finally:
        head.assigner, head.sampler = kept
    image = pixels.permute(1, 2, 0).cpu().numpy()
    image = np.clip(image, 0, 255).astype(np.uint8)
    if getattr(model.data_preprocessor, '_channel_conversion', False):
        image = image[..., ::-1]
    height, width = batch['inputs'].shape[-2:]
    image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)))
    return Look(item.name, np.ascontiguousarray(image), priors, gt, found)


def pages(looked: Look, columns: int, panel: int) -> Iterator[np.ndarray]:
    """Pictures of at most so many assigners side by side."""
    names = list(looked.found)
    number = -(-len(names) // columns)
    own = -(-len(names) // max(number, 1))  # about equally many on each page
    for start in range(0, len(names), max(own, 1)):
        some = {name: looked.found[name] for name in names[start : start + own]}
        title = f'{looked.name}: {int(looked.gt.valid.sum())} gts'
        yield draw_assignments(
            looked.image, looked.priors, looked.gt, some, panel=panel, title=title
        )


def tables_of(looks: Sequence[Look], classes: Sequence[str]) -> list[Table]:
    """The tables of some images together."""
    counts: dict[str, Counts] = {}
    for looked in looks:
        for name, found in looked.found.items():
            if not isinstance(found, str):
                own = Counts.of(found, looked.priors, looked.gt)
                counts[name] = counts[name].plus(own) if name in counts else own
    priors = looks[0].priors
    strides = [f'stride {level.stride[0]:g}' for level in priors.levels] or ['priors']

    def name_of(label: int) -> str:
        return classes[label] if 0 <= label < len(classes) else str(label)

    labels = [[name_of(label) for label in looked.gt.labels[0].tolist()] for looked in looks]
    return [
        *count_tables(counts, strides),
        gt_table(counts, [looked.name for looked in looks], labels),
    ]


# --- Command -----------------------------------------------------------------------------


def show(args: argparse.Namespace) -> None:
    """Draw and tabulate as the arguments say."""
    if args.panel < LEAST_PANEL:
        raise ConfigError(f'--panel: expected at least {LEAST_PANEL} pixels, got {args.panel}')
    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    model, meta = build_model(cfg, args.checkpoint, args.seed)
    head = head_of(model)
    if args.synthetic:
        size = (args.synthetic_size, args.synthetic_size)
        items = synthetic_items(args.num, size, head.num_classes, args.seed)
    else:
        items = dataset_items(cfg, args.images, args.num)
    assigners = build_assigners(args.assigners, head.assigner)
    looks = [look(model, item, assigners, sampled=args.sampled) for item in items]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    console, written = table_console(), []
    for looked in looks:
        for number, page in enumerate(pages(looked, args.columns, args.panel)):
            suffix = f'_{number + 1}' if len(assigners) > args.columns else ''
            written.append(out / f'{looked.name}{suffix}.png')
            write_rgb(str(written[-1]), page)
    tables = tables_of(looks, class_names(cfg, meta))
    text = '\n'.join(table.markdown() for table in tables)
    (out / 'tables.md').write_text(f'# Assignments of {args.config}\n\n{text}', encoding='utf-8')
    for table in tables:
        console.print(_rich(table))
    for name, found in looks[0].found.items():
        if isinstance(found, str):
            console.print(f'{name}: {found}', markup=False)
    console.print(f'{len(written)} page(s) and tables.md: {out}', markup=False)


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title)
    for i, name in enumerate(table.head):
        shown.add_column(name, justify='left' if i == 0 else 'right')
    for row in table.rows:
        shown.add_row(*row)
    return shown


def show_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/visualize_assignments.py``."""
    parser = argparse.ArgumentParser(
        description='Draw what assigners make positive, soft and ignored, level by level.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument(
        '--assigners',
        nargs='+',
        default=[OWN],
        metavar='NAME',
        help='assigners to compare, such as ATSS or "SimOTA(center_radius=1.5)"; '
        f'"{OWN}" is the one of the config (default)',
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
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOption,
        metavar='KEY=VALUE',
        help='override config keys',
    )
    return parser


def visualize_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/visualize_assignments.py``."""
    run_command(show_parser(), show, argv)
