"""The config of one cell of the pairing matrix: one part changed, a budget of steps."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config import configs_folder, load_config
from ..errors import ConfigError, nearest_names
from .assigner_names import parse_assigner
from .cli import OWN_ASSIGNER as OWN

# Where a model holds its assigner, the first that is there.
ASSIGNER_AT = (
    'model.train_cfg.assigner',
    'model.train_cfg.rcnn.assigner',
    'model.head.train_cfg.assigner',
)
LOSS_AT = ('model.bbox_head.loss_bbox', 'model.roi_head.bbox_head.loss_bbox')
# What a matrix does not need of every run: a bar, and pictures at the end.
_LEFT_OUT = ('progress', 'report')
_DATA_KEYS = tuple(
    f'{s}_{k}' for s in ('train', 'val', 'test') for k in ('dataloader', 'evaluator')
)


@dataclass(frozen=True)
class Pairing:
    """One cell: a head with an assigner and a loss, trained from one seed.

    Args:
        head: A system whose ``*_tiny_digits.py`` config there is, or a config file.
        assigner: As ``tools/visualize_assignments.py`` takes it; ``config`` for its own.
        loss: ``NAME`` or ``NAME(option=value)``; ``config`` for its own.
        seed: Of the run.
    """

    head: str
    assigner: str = OWN
    loss: str = OWN
    seed: int = 0

    @property
    def column(self) -> str:
        """What was changed, for people."""
        changed = [t.replace('Assigner', '') for t in (self.assigner, self.loss) if t != OWN]
        return ' + '.join(changed) or 'its own'

    @property
    def row(self) -> str:
        """The head, for people."""
        return Path(self.head).stem

    def arguments(self) -> str:
        """The options of ``tools/pairing_matrix.py`` that name this cell alone."""
        words = [f'--heads {self.head}']
        words += [f"--assigners '{self.assigner}'"] if self.assigner != OWN else []
        words += [f"--losses '{self.loss}'"] if self.loss != OWN else []
        return ' '.join([*words, f'--seeds {self.seed}'])


def find_config(head: str) -> Path:
    """The config of a system, by its name or by a path.

    Raises:
        ConfigError: If there is none; it names the nearest.
    """
    if head.endswith('.py'):
        if Path(head).is_file():
            return Path(head)
        raise ConfigError(f'--heads: no config file {head!r}')
    ending = '_tiny_digits.py'
    found = {p.name.removesuffix(ending): p for p in configs_folder().glob(f'*/*{ending}')}
    if head not in found:
        near = ', '.join(nearest_names(head, found) or sorted(found))
        raise ConfigError(f'--heads: no system {head!r}; nearest: {near}')
    return found[head]


def pairing_config(
    pairing: Pairing,
    *,
    steps: int,
    data: str | None = None,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """The whole config of one cell.

    Args:
        pairing: The cell.
        steps: Of training; the schedule is stretched to them.
        data: A config whose data loaders and evaluators take the place of the head's.
        num_classes: Of that data; every ``num_classes`` of the model is set to it.
        options: Further dotted keys.

    Raises:
        ConfigError: If a part has no such name or place.
    """
    path = find_config(pairing.head)
    plain = load_config(path, check=False)
    changes: dict[str, Any] = {}
    if pairing.assigner != OWN:
        changes[_place(plain, ASSIGNER_AT)] = parse_assigner(pairing.assigner)[1]
    if pairing.loss != OWN:
        place = _place(plain, LOSS_AT)
        changes[place] = loss_node(pairing.loss, like=_at(plain, place))
    cfg = load_config(path, options={**changes, **(options or {})}, check=bool(options))
    if data is not None:
        found = load_config(data, check=False)
        for key in _DATA_KEYS:
            if found.get(key) is not None:
                cfg[key] = found[key]
    if num_classes is not None:
        _set_everywhere(cfg.model, 'num_classes', num_classes)
    set_budget(cfg, steps)
    for name in _LEFT_OUT:
        cfg.default_hooks.pop(name, None)
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=pairing.seed)
    return cfg


def loss_node(text: str, *, like: Mapping[str, Any] | None) -> dict[str, Any]:
    """``GIoULoss`` or ``GIoULoss(loss_weight=2)`` as a config node.

    A ``loss_weight`` that is not given is that of the loss whose place it takes.
    """
    name, bracket, _ = text.partition('(')
    given: dict[str, Any] = {}
    if bracket:
        try:
            call = ast.parse(text, mode='eval').body
            given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}  # type: ignore[attr-defined]
        except (SyntaxError, ValueError, AttributeError) as error:
            raise ConfigError(
                f'--losses: expected NAME or NAME(key=value, ...), got {text!r}'
            ) from error
    weight = (like or {}).get('loss_weight')
    kept = {} if weight is None else dict(loss_weight=weight)
    return dict(kept, **given, type=name)


def set_budget(cfg: Config, steps: int) -> None:
    """Train for a number of steps, with the schedule stretched or squeezed to them.

    One validation at the end; one checkpoint on the way, to go on from.
    """
    loop = cfg.train_cfg
    total = loop.get('max_iters') or loop.get('max_epochs')
    if not total:
        raise ConfigError('train_cfg: expected max_iters or max_epochs, to stretch to the budget')
    share = steps / total
    by_epoch = not loop.get('max_iters')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
    schedule = cfg.get('param_scheduler')
    for part in [schedule] if isinstance(schedule, dict) else schedule or []:
        counts_epochs = part.get('by_epoch', True)
        # A warm-up in iterations, in a config of epochs: a tenth of the budget at most.
        scale = share if counts_epochs == by_epoch else min(1.0, steps / 10 / part.get('end', 1))
        for key in ('begin', 'end', 'T_max', 'total_iters', 'step_size'):
            if part.get(key) is not None:
                part[key] = round(part[key] * scale)
        if part.get('end') is not None:
            part['end'] = max(part['end'], part.get('begin', 0) + 1)
        if part.get('T_max') is not None:
            part['T_max'] = max(part['T_max'], 1)
        if part.get('milestones'):
            part['milestones'] = [round(m * scale) for m in part['milestones']]
        part['by_epoch'] = False
        part.pop('convert_to_iter_based', None)
    keep = dict(type='CheckpointHook', by_epoch=False, interval=max(steps // 2, 1))
    cfg.default_hooks = dict(
        cfg.get('default_hooks') or {}, checkpoint=dict(keep, max_keep_ckpts=1)
    )
    cfg.log_processor = dict(type='LogProcessor', by_epoch=False, window_size=50)


def _place(cfg: Config, places: tuple[str, ...]) -> str:
    for place in places:
        if _at(cfg, place) is not None:
            return place
    raise ConfigError(f'{cfg.filename}: expected one of {", ".join(places)}, found none')


def _at(cfg: Config, place: str) -> Any:
    node: Any = cfg._cfg_dict
    for key in place.split('.'):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _set_everywhere(node: Any, key: str, value: Any) -> None:
    if isinstance(node, Mapping):
        for name in node:
            if name == key:
                node[name] = value  # type: ignore[index]
            else:
                _set_everywhere(node[name], key, value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            _set_everywhere(item, key, value)
