"""``tools/check_config.py``: what a config pairs, shown on one forward and backward pass.

Shapes: B images, N slots, K pairs, L levels.
"""

from __future__ import annotations

import argparse
import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.table import Table as RichTable
from torch import Tensor, nn

from ..config import ConfigOption, load_config
from ..config.reading import child_nodes
from ..errors import ConfigError, NonFiniteLossError
from ..heads import LossInputs, evaluate_terms
from ..heads.dense_head import pad_shapes
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth
from ..structures.loss_term import BOX_KINDS
from ..visualization import Counts, Table
from ..visualization.assignment_counts import SIZE_NAMES, size_group
from .cli import positive_int, run_command, table_console
from .hooks.check_classes import check_classes
from .infer import _without_init
from .show_assignments import head_of

LONGEST_SIDE = 512  # of synthetic images: enough for every size of gt, and seconds on a CPU


# --- One batch ---------------------------------------------------------------------------


def training_size(cfg: Config) -> tuple[int, int]:
    """Height and width of synthetic images: what training resizes to, at most 512 pixels.

    A fixed square size is kept as it is: fully connected layers may need it.
    """
    sizes = [(128, 128)] if 'Digits' in str(cfg.get('train_dataloader')) else [(512, 512)]
    loader = cfg.get('train_dataloader') or {}
    for _, node in child_nodes(dict(loader)):
        for key in ('scale', 'img_scale', 'crop_size'):
            value: Any = node.get(key)
            pair = isinstance(value, Sequence) and len(value) == 2
            if pair and all(isinstance(side, int) for side in value):
                sizes.append((min(value), max(value)))
    height, width = sizes[-1]
    if height == width:
        return height, width
    shrink = min(1.0, LONGEST_SIDE / width)
    return max(32, round(height * shrink / 32) * 32), max(32, round(width * shrink / 32) * 32)


def synthetic_batch(
    size: tuple[int, int], num_classes: int, *, batch: int = 2, seed: int = 0, count: int = 8
) -> dict[str, list]:
    """Noise with painted boxes of many sizes, as a data loader gives a batch.

    Args:
        size: (height, width) in pixels.
        num_classes: Labels are drawn from so many.
        batch: B.
        seed: Of everything drawn.
        count: Gts an image, from 8 pixels to 0.9 of the shorter side, evenly by logarithm.
    """
    height, width = size
    inputs, samples = [], []
    for index in range(batch):
        generator = torch.Generator().manual_seed(seed * 1000 + index)

        def draw(*shape: int, g: torch.Generator = generator) -> Tensor:
            return torch.rand(*shape, generator=g)

        sides = torch.logspace(0, 1, count, base=max(0.9 * min(size) / 8, 1.0))[:, None] * 8
        sides = sides * torch.exp2(draw(count, 2) - 0.5)
        sides = torch.minimum(sides, torch.tensor([width, height]) * 0.95)
        low = draw(count, 2) * (torch.tensor([width, height]) - sides)
        boxes = torch.cat((low, low + sides), dim=1)
        image = draw(3, height, width) * 60 + 90
        for x1, y1, x2, y2 in reversed(boxes.int().tolist()):
            image[:, y1:y2, x1:x2] = draw(3, 1, 1) * 255
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_id=index))
        labels = (draw(count) * num_classes).long().clamp(max=num_classes - 1)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        inputs.append(image.round().to(torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def first_batch(cfg: Config, model: Any) -> dict[str, Any]:
    """The first batch of the config's training data.

    Raises:
        ConfigError: If it has none, or other classes than the model.
    """
    loader = copy.deepcopy(cfg.get('train_dataloader'))
    if not loader:
        raise ConfigError('--data: the config has no train_dataloader')
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    built = Runner.build_dataloader(loader, seed=0)
    check_classes(model, built, 'train_dataloader')
    return next(iter(built))


# --- One pass ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one pass showed.

    Args:
        head: The dense head.
        shapes: (channels, height, width) of the feature map of each level.
        inputs: What the losses compared.
        losses: Name to value.
        gradients: Part of the model to (parameters, gradient norm, of them without any).
    """

    head: Any
    shapes: tuple[tuple[int, ...], ...]
    inputs: LossInputs
    losses: dict[str, float]
    gradients: dict[str, tuple[int, float, int]]


def inspect_model(model: Any, data: Mapping[str, Any]) -> Inspection:
    """One forward and backward pass of a detector on a batch.

    Args:
        model: The detector.
        data: A batch as a data loader gives it.
    """
    model.train()
    batch = model.data_preprocessor(data, training=False)
    samples = batch['data_samples']
    head = head_of(model)
    feats = model.extract_feat(batch['inputs'])
    maps = head.raw_maps(feats)
    gt = GroundTruth.from_data_samples(samples)
    ids = [sample.metainfo.get('img_id', i) for i, sample in enumerate(samples)]
    found = head.loss_inputs(
        maps, gt, image_ids=ids, pads=pad_shapes([sample.metainfo for sample in samples])
    )
    losses = evaluate_terms(head.loss_terms, found)
    model.zero_grad()
    sum(losses.values()).backward()  # type: ignore[union-attr]
    return Inspection(
        head=head,
        shapes=tuple(tuple(level.shape[1:]) for level in feats),
        inputs=found,
        losses={name: float(value.detach()) for name, value in losses.items()},
        gradients=_gradients(model),
    )


def _gradients(model: nn.Module) -> dict[str, tuple[int, float, int]]:
    """Parts of the model, the head's layers apart."""
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            words = name.split('.')
            part = '.'.join(words[:2]) if 'head' in words[0] else words[0]
            parts.setdefault(part, []).append(parameter)
    out = {}
    for part, parameters in parts.items():
        norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in parameters]
        total = sum(norm**2 for norm in norms) ** 0.5
        out[part] = (sum(p.numel() for p in parameters), total, norms.count(0.0))
    return out


# --- Tables ------------------------------------------------------------------------------


def pairing_table(head: Any, model_cfg: Mapping) -> Table:
    """The parts that were built, with the settings that the config gives them.

    Args:
        head: The dense head.
        model_cfg: The model node of the config.
    """
    outputs = f'num_classes={head.num_classes}, outputs a class vector={head.cls_out_channels}'
    rows = [('head', type(head).__name__, outputs, '')]
    parts = dict(
        prior_generator=head.prior_generator,
        bbox_coder=head.bbox_coder,
        assigner=head.assigner,
        sampler=head.sampler,
    )
    for name, part in parts.items():
        kind = '-' if part is None else type(part).__name__
        needs = ', '.join(sorted(getattr(part, 'needs', ()))) or '-'
        settings = _settings(_find(model_cfg, name))
        rows.append((name.replace('_', ' '), kind, settings, needs))
    return Table('Pairing', ('part', 'type', 'settings', 'asks the head for'), tuple(rows))


def _find(node: Any, name: str) -> Any:
    """What stands under a key, anywhere in a model node."""
    if not isinstance(node, Mapping):
        return None
    if node.get(name) is not None:
        return node[name]
    found = (_find(child, name) for child in node.values())
    return next((value for value in found if value is not None), None)


def _settings(node: Any) -> str:
    """The arguments of a config node, on one line."""
    given = node.items() if isinstance(node, Mapping) else ()
    text = ', '.join(f'{key}={_plain(value)}' for key, value in given if key != 'type')
    return (text if len(text) <= 200 else text[:197] + '...') or 'defaults'


def _plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, 'to_dict') else value


def term_table(found: Inspection) -> Table:
    """Each loss term as the head states it, and its value."""
    rows = []
    for term in found.head.loss_terms:
        normalizer = 'sum' if getattr(term.loss, 'reduction', '') == 'sum' else term.normalizer
        weight = term.factor * getattr(term.loss, 'loss_weight', 1.0)
        extra = [f'x {weight:g}']
        extra += [f'target {term.target_quality}'] if term.target_quality != 'assigned' else []
        extra += [f'pair {term.pair_weight}'] if term.pair_weight != 'assigned' else []
        extra += ['x images'] if term.times_batch else []
        extra += [f'levels {term.level_weights}'] if term.level_weights else []
        value = f'{found.losses[term.name]:.4g}'
        by_pair = term.kind in (*BOX_KINDS, 'centerness')
        kind = (term.kind, 'positives' if by_pair else term.rows, normalizer)
        rows.append((term.name, type(term.loss).__name__, *kind, ', '.join(extra), value))
    head = ('term', 'loss', 'kind', 'rows', 'normaliser', 'weight', 'value')
    return Table('Loss terms', head, tuple(rows))


def level_table(found: Inspection) -> Table:
    """Feature maps and slots of each level, and what became of the slots."""
    priors, assigned = found.inputs.priors, found.inputs.assignment
    level_ids, count = priors.level_ids, len(priors.level_sizes)
    of_slot = level_ids.expand_as(assigned.ignored)
    positive, ignored = (
        torch.bincount(of_slot[mask], minlength=count).tolist()
        for mask in (assigned.positive_mask(), assigned.ignored)
    )
    soft = [0] * count
    if assigned.soft is not None:
        slots = torch.stack((assigned.soft.image, assigned.soft.prior)).unique(dim=1)[1]
        soft = torch.bincount(level_ids[slots], minlength=count).tolist()
    rows = []
    for index, level in enumerate(priors.levels):
        shape = found.shapes[index] if len(found.shapes) == count else found.shapes[-1]
        side = [f'{min(s):.0f}' for s in zip(*level.base_sizes)]
        largest = [f'{max(s):.0f}' for s in zip(*level.base_sizes)]
        span = (
            ' x '.join(side) if side == largest else f'{" x ".join(side)} to {" x ".join(largest)}'
        )
        numbers = (level.num_base, level.num_priors, positive[index], soft[index], ignored[index])
        rows.append((f'{level.stride[0]:g}', ' x '.join(map(str, shape)), span, *map(str, numbers)))
    head = ('stride', 'feature map', 'slots (w x h)', 'a cell', 'an image')
    return Table(
        f'Levels ({assigned.batch_size} images)',
        (*head, 'positive', 'soft', 'ignored'),
        tuple(rows),
    )


def size_table(found: Inspection) -> Table:
    """Positives by the size of the gt, and how many their slot's coder cannot reach."""
    inputs = found.inputs
    counts = Counts.of(inputs.assignment, inputs.priors, inputs.gt)
    unreachable = unreachable_pairs(inputs)
    of_pair = counts.gt_size[inputs.assignment.image.numpy(), inputs.assignment.gt.numpy()]
    group = torch.from_numpy(size_group(of_pair))
    rows = []
    for index, (name, (gts, mean)) in enumerate(zip(SIZE_NAMES, counts.per_size())):
        if not gts:
            continue
        own = group == index
        beyond = '-' if unreachable is None else _share(unreachable[own])
        without = counts.gts & (counts.per_gt == 0) & (size_group(counts.gt_size) == index)
        rows.append((name, str(gts), f'{mean:.1f}', str(int(without.sum())), beyond))
    total = '-' if unreachable is None else _share(unreachable)
    average = counts.positives / max(int(counts.gts.sum()), 1)
    everything = (str(int(counts.gts.sum())), f'{average:.1f}', str(counts.without), total)
    rows.append(('all', *everything))
    head = ('sqrt of area', 'gts', 'positives a gt', 'gts without', 'beyond the coder')
    return Table('Positives by size of the gt', head, tuple(rows))


def _share(flags: Tensor) -> str:
    return f'{100 * float(flags.float().mean()):.0f} %' if flags.numel() else '-'


def unreachable_pairs(inputs: LossInputs) -> Tensor | None:
    """``(K,)`` bool, gts that their slot can never predict exactly; None without a coder."""
    pairs, coder = inputs.assignment, inputs.coder
    if coder is None:
        return None
    stride = inputs.priors.strides_at(pairs.image, pairs.prior)
    reference = inputs.reference_at(pairs)
    return ~coder.reachable(reference, pairs.boxes_of(inputs.gt), stride)  # type: ignore[attr-defined]


def gradient_table(found: Inspection) -> Table:
    """Gradient norms of the parts of the model."""
    rows = []
    for part, (parameters, norm, idle) in found.gradients.items():
        rows.append((part, f'{parameters:,}', f'{norm:.3g}', str(idle or '-')))
    return Table('Gradients', ('part', 'parameters', 'norm', 'tensors without'), tuple(rows))


def warnings_of(found: Inspection) -> list[str]:
    """What a user should look at before training."""
    inputs, notes = found.inputs, []
    counts = Counts.of(inputs.assignment, inputs.priors, inputs.gt)
    number = int(counts.gts.sum())
    if number and not counts.positives:
        notes.append('no gt has a positive: the assigner and these slots do not fit')
    elif counts.without:
        notes.append(f'{counts.without} of {number} gts have no positive')
    empty = [i for i, n in enumerate(counts.per_level) if not n]
    if empty and counts.positives:
        notes.append(f'no positive on level {", ".join(map(str, empty))}')
    beyond = unreachable_pairs(inputs)
    boxes = any(term.kind in BOX_KINDS for term in found.head.loss_terms)
    if boxes and beyond is not None and beyond.any():
        coder = type(inputs.coder).__name__
        notes.append(
            f'{_share(beyond)} of the positives lie beyond what {coder} can reach from their '
            'slot: those boxes are learnt up to its bounds'
        )
    for part, (_, norm, _) in found.gradients.items():
        if norm == 0:
            notes.append(f'{part} has no gradient')
    return notes


# --- Command -----------------------------------------------------------------------------


def check(args: argparse.Namespace) -> None:
    """Build, run one pass, print.

    Raises:
        NonFiniteLossError: If a loss or gradient is not finite.
    """
    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(args.seed)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    model: Any = MODELS.build(_without_init(cfg.model))
    model.init_weights()
    console = table_console()
    if args.data:
        data, what = first_batch(cfg, model), 'first batch of the training data'
    else:
        size = tuple(args.size) if args.size else training_size(cfg)
        data = synthetic_batch(size, head_of(model).num_classes, batch=args.batch, seed=args.seed)
        what = f'{args.batch} synthetic images of {size[0]} x {size[1]}'
    found = inspect_model(model, data)
    console.print(f'{args.config}: {type(model).__name__}, {what}', markup=False)
    tables = (pairing_table(found.head, cfg.model), term_table(found), level_table(found))
    for table in (*tables, size_table(found), gradient_table(found)):
        console.print(_rich(table))
    wrong = [name for name, value in found.losses.items() if not _finite(value)]
    wrong += [part for part, (_, norm, _) in found.gradients.items() if not _finite(norm)]
    if wrong:
        raise NonFiniteLossError(f'{args.config}: not finite: {", ".join(wrong)}')
    for note in warnings_of(found):
        console.print(f'note: {note}', markup=False)
    total = sum(found.losses.values())
    console.print(f'The config builds and trains: total loss {total:.4g}, all gradients finite.')


def _finite(value: float) -> bool:
    return value - value == 0


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify='left', title_style='bold')
    for name in table.head:
        shown.add_column(name, overflow='fold')
    for row in table.rows:
        shown.add_row(*row)
    return shown


def check_parser() -> argparse.ArgumentParser:
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
    parser.add_argument('--seed', type=int, default=0, help='of weights and synthetic images')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOption,
        metavar='KEY=VALUE',
        help='override config keys, e.g. "model.train_cfg.assigner=dict(type=\'ATSSAssigner\')"',
    )
    return parser


def check_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/check_config.py``."""
    run_command(check_parser(), check, argv)
