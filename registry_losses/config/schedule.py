"""One value sets the length of a training; schedule, checkpoints and log follow it.

``train_cfg.max_iters`` or ``train_cfg.max_epochs`` is the length. A scheduler says where it
begins and ends in whole numbers, as OpenMMLab's do, or in shares of the length (floats in
(0, 1])::

    param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=0.1),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=0.1, end=1.0),
    ]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError

# Keys of schedulers that are points or spans of time.
TIMES = (
    'begin', 'end', 'T_max', 'total_iters', 'total_steps', 'step_size', 'periods', 'milestones',
)  # fmt: skip
_WARM_UPS = (
    'LinearLR', 'ConstantLR', 'LinearMomentum', 'ConstantMomentum', 'LinearParamScheduler',
    'QuadraticWarmupLR', 'QuadraticWarmupMomentum',
)  # fmt: skip


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        steps: In the unit of its loop.
        by_epoch: Whether that is epochs.
        epoch_length: Iterations of an epoch, where it is known and epochs are counted.
    """

    steps: int
    by_epoch: bool
    epoch_length: int | None = None

    def in_unit(self, by_epoch: bool) -> int | None:
        """The length in epochs or iterations; None where it is not known."""
        if by_epoch == self.by_epoch:
            return self.steps
        if self.by_epoch and self.epoch_length is not None:
            return self.steps * self.epoch_length
        return None

    @staticmethod
    def of(train_cfg: Any) -> Length | None:
        """What a ``train_cfg`` says; None where it says none of the two."""
        if not isinstance(train_cfg, Mapping):
            return None
        by_epoch = counts_epochs(train_cfg)
        steps = train_cfg.get('max_epochs' if by_epoch else 'max_iters')
        if isinstance(steps, bool) or not isinstance(steps, (int, float)) or not 0 < steps < 2**63:
            return None
        return Length(int(steps), by_epoch)


def counts_epochs(train_cfg: Mapping[str, Any]) -> bool:
    """Whether the loop of a ``train_cfg`` counts epochs."""
    kind = str(train_cfg.get('type', '')).rpartition('.')[2]
    if kind in ('EpochBasedTrainLoop', 'IterBasedTrainLoop'):
        return kind == 'EpochBasedTrainLoop'
    return bool(train_cfg.get('by_epoch', 'max_iters' not in train_cfg))


def schedulers(value: Any) -> Iterator[MutableMapping]:
    """The scheduler nodes of a ``param_scheduler``, be it one, a list or a dict of lists."""
    if isinstance(value, MutableMapping) and 'type' in value:
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from schedulers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from schedulers(item)


def follow_length(cfg: Config, *, before: Length | None = None) -> list[str]:
    """Let everything that depends on the length of the training follow it, in place.

    Shares become whole numbers where the length is known in their unit; the others wait for
    the data. What does not say whether it counts epochs counts what the loop counts: the
    checkpoint hook (whose interval then follows too), the log, the curves.

    Args:
        cfg: The config, overrides applied.
        before: The length before the overrides: a schedule of whole numbers that fitted it
            is stretched to the new one.

    Returns:
        One line for each thing a user might not expect.
    """
    length = Length.of(cfg.get('train_cfg'))
    if length is None:
        return []
    notes = []
    nodes = list(schedulers(cfg.get('param_scheduler')))
    overridden = before is not None and before.by_epoch == length.by_epoch and before != length
    if overridden and _stretch(nodes, before, length):  # type: ignore[arg-type]
        unit = 'epochs' if length.by_epoch else 'iterations'
        notes.append(
            f'param_scheduler follows train_cfg: from {before.steps} to {length.steps} {unit}'  # type: ignore[union-attr]
        )
    for node in nodes:
        resolve_shares(node, length)
    notes += _count_as_the_loop(cfg, length)
    return notes


def resolve_shares(node: MutableMapping, length: Length) -> None:
    """Turn a scheduler's shares into whole numbers, where the length is known in its unit."""
    shares = [key for key in TIMES if _is_share(node.get(key))]
    by_epoch = node.get('by_epoch', True)
    if shares and by_epoch and not length.by_epoch:
        # Shares fit any loop; epochs would never pass in one that counts iterations.
        node['by_epoch'] = by_epoch = False
    whole = length.in_unit(by_epoch)
    if whole is None:
        return
    for key in shares:
        value = node[key]
        several = isinstance(value, (list, tuple))
        node[key] = [_part(v, whole) for v in value] if several else _part(value, whole)
    if 'end' in shares or 'begin' in shares:
        node['end'] = max(node.get('end', whole), node.get('begin', 0) + 1)
    decays = str(node.get('type', '')).startswith(('CosineAnnealing', 'Poly'))
    if decays and node.get('T_max') is None and node.get('end') is None:
        node['end'] = whole


def _is_share(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_share(item) for item in value)
    return isinstance(value, float) and 0 < value <= 1


def _part(value: Any, whole: int) -> Any:
    return max(1, round(value * whole)) if _is_share(value) else value


def _stretch(nodes: list[MutableMapping], before: Length, after: Length) -> bool:
    """Scale whole numbers that fitted the old length; False where they did not."""
    mine = [n for n in nodes if n.get('by_epoch', True) == before.by_epoch]
    times = [t for n in mine for key in TIMES for t in _whole(n.get(key))]
    if not times or max(times) > before.steps:
        return False
    scale = after.steps / before.steps
    for node in mine:
        for key in TIMES:
            value = node.get(key)
            if isinstance(value, (list, tuple)):
                node[key] = [round(v * scale) if _whole(v) else v for v in value]
            elif _whole(value) and value:
                node[key] = max(1, round(value * scale))
        if _whole(node.get('end')):
            node['end'] = max(node['end'], (_whole(node.get('begin')) or [0])[0] + 1)
    return True


def _whole(value: Any) -> list[int]:
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in _whole(item)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def _count_as_the_loop(cfg: Config, length: Length) -> list[str]:
    notes = []
    hooks = cfg.get('default_hooks')
    if not isinstance(hooks, Mapping):
        hooks = {}
    checkpoint, logger = hooks.get('checkpoint'), hooks.get('logger')
    if isinstance(checkpoint, MutableMapping):
        given = checkpoint.get('interval')
        counts = checkpoint.get('by_epoch', None)
        if counts is None:
            checkpoint['by_epoch'] = length.by_epoch
            if not length.by_epoch and given == 1:
                # As files that count epochs write it: a checkpoint every step is not meant.
                notes.append(
                    'default_hooks.checkpoint.interval=1 is read as an epoch, which this training'
                    f' by iterations has none of; saving every {_interval(cfg, length)} iterations.'
                    ' Add by_epoch=False to mean iterations'
                )
                given = None
        if given is None:
            checkpoint.update(by_epoch=length.by_epoch, interval=_interval(cfg, length))
    if isinstance(logger, MutableMapping) and 'LoggerHook' in str(logger.get('type', 'LoggerHook')):
        logger.setdefault('log_metric_by_epoch', length.by_epoch)
    processor = cfg.get('log_processor')
    if processor is None:
        cfg.log_processor = dict(type='LogProcessor', by_epoch=length.by_epoch)
    elif isinstance(processor, MutableMapping):
        processor.setdefault('by_epoch', length.by_epoch)
    return notes


def _interval(cfg: Config, length: Length) -> int:
    """Each epoch; or at each validation, and eight times a training at least."""
    if length.by_epoch:
        return 1
    validation = cfg.train_cfg.get('val_interval')
    validation = validation if _whole(validation) and validation > 0 else length.steps
    return max(1, min(validation, -(-length.steps // 8)))


def misfits(nodes: Any, length: Length) -> list[str]:
    """What of a schedule does not fit the length of the training, one line each.

    Raises:
        ConfigError: If a scheduler counts what the loop does not, so that it would never step.
    """
    found = []
    for index, node in enumerate(schedulers(nodes)):
        name = f'param_scheduler[{index}] ({node.get("type")})'
        _check_times(name, node)
        by_epoch = node.get('by_epoch', True)
        if by_epoch and not length.by_epoch:
            raise ConfigError(
                f'{name} counts epochs, but the training counts iterations (max_iters='
                f'{length.steps}): it would never step. Add by_epoch=False, and count iterations'
                ' in it, or shares such as end=1.0'
            )
        whole = length.in_unit(by_epoch)
        if whole is None:
            continue
        unit = 'epochs' if by_epoch else 'iterations'
        begin, end = node.get('begin') or 0, node.get('end')
        kind = str(node.get('type', '')).rpartition('.')[2]
        milestones = [m for m in node.get('milestones') or [] if m > whole]
        span = node.get('T_max') or (end - begin if end is not None else None)
        if kind.startswith('OneCycle'):
            span = node.get('total_steps') or span
            if span and begin + span < whole:
                raise ConfigError(
                    f'{name}: total_steps={span} are fewer than the {whole} {unit} of the training:'
                    f' write total_steps={whole - begin}, or a share such as 1.0'
                )
        if kind.startswith('CosineRestart'):
            span = sum(node.get('periods') or ())
        if begin >= whole:
            found.append(f'{name} begins at {begin}, after the {whole} {unit} of the training')
        elif kind in _WARM_UPS and node.get('end_factor', 1.0) == 1.0:
            if end is not None and end > whole:
                found.append(
                    f'{name} warms up for {end} {unit}, and the training has {whole}: the rate'
                    ' never reaches its value. Shorten it, or write a share such as end=0.1'
                )
        elif milestones:
            found.append(
                f'{name}: milestones {milestones} lie beyond the {whole} {unit} of the training'
            )
        elif kind.startswith('Step') and begin + node.get('step_size', 0) >= whole:
            found.append(
                f'{name}: step_size {node["step_size"]} lies beyond the {whole} {unit} of the'
                ' training: it never steps'
            )
        elif _decays_once(kind) and span and begin + span != whole:
            found.append(
                f'{name} reaches its end at {begin + span} {unit}, and the training has {whole}:'
                f' write shares such as begin={begin / whole:.2g}, end=1.0 without T_max'
            )
    return found


def _check_times(name: str, node: Mapping[str, Any]) -> None:
    """Refuse points of time that are none, and spans of none.

    Raises:
        ConfigError: Naming the scheduler and the key.
    """
    for key in TIMES:
        if node.get(key) is None:
            continue
        several = key in ('milestones', 'periods')
        values = node[key] if several and isinstance(node[key], (list, tuple)) else [node[key]]
        least = 0 if key in ('begin', 'milestones') else 1
        if several != isinstance(node[key], (list, tuple)) or not all(
            _is_share(v) or (isinstance(v, (int, float)) and v >= least and v == v // 1)
            for v in values
        ):
            raise ConfigError(
                f'{name}: {key}: expected {"a list of " * several}whole numbers of at least'
                f' {least}, or shares of the training such as 0.1, got {node[key]!r}'
            )
    factor = node.get('start_factor', 1.0)
    if str(node.get('type')).startswith('Linear') and not 0 < factor <= 1:
        raise ConfigError(f'{name}: start_factor: expected a share above 0, got {factor!r}')
    begin, end = node.get('begin') or 0, node.get('end')
    if end is not None and not _is_share(begin) and not _is_share(end) and end <= begin:
        raise ConfigError(f'{name}: begins at {begin} and ends at {end}; end has to be later')


def _decays_once(kind: str) -> bool:
    return kind.startswith(('CosineAnnealing', 'CosineRestart', 'OneCycle', 'Poly'))
