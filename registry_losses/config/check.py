"""Strictness: a key that no part reads is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from torch.utils.data import DataLoader

from .. import registry as reg
from ..errors import ConfigError, UnknownTypeError, nearest_names
from ..ops.suppression import Suppression
from ..registry import ScopedRegistry
from .reading import (
    ALWAYS_READ,
    accepted_keys,
    declared_keys,
    find_type,
    not_numbers,
    not_whole_numbers,
    part_keys,
    required_keys,
)
from .sources import TOP_LEVEL_KEYS

_LOADER_KEYS = frozenset(inspect.signature(DataLoader.__init__).parameters) - {'self'} | {
    'dataset',
    'disable_subprocess_warning',
    'num_batch_per_epoch',
}
_LOADER_COUNTS = {'batch_size': 1, 'num_workers': 0}  # and the least that each may be
_PARAMWISE_KEYS = frozenset(
    {'bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate', 'custom_keys', 'dcn_offset_lr_mult'}
    | {'dwconv_decay_mult', 'flat_decay_mult', 'norm_decay_mult'}
)
_CLIP_KEYS = frozenset(
    {'type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'}
)
_CLIP_NUMBERS = frozenset({'max_norm', 'norm_type', 'clip_value'})
_PLAIN_SECTIONS: Mapping[str, frozenset[str]] = {
    'auto_scale_lr': frozenset({'enable', 'base_batch_size'}),
    'custom_imports': frozenset({'imports', 'allow_failed_imports'}),
    'env_cfg': frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    'randomness': frozenset({'seed', 'diff_rank_seed', 'deterministic'}),
}

# Counts of layers: a slip of the pen would be built for hours, and fill the memory.
_LAYERS = frozenset(
    {'stacked_convs', 'num_outs', 'num_csp_blocks', 'num_blocks', 'num_shared_convs', 'num_stages'}
    | {'num_shared_fcs', 'num_cls_convs', 'num_cls_fcs', 'num_reg_convs', 'num_reg_fcs', 'num_ins'}
)
_MOST_LAYERS = 1000

_PROCESSES_KEYS = frozenset({'mp_start_method', 'opencv_num_threads'})

# Given by whoever builds, never by a config.
_NOT_OFFERED = ALWAYS_READ | {'runner', 'dataloader', 'params', 'module'}

# Where to look first for the `type` of a node below a key; elsewhere where its parent was found.
_REGISTRY_OF_KEY: Mapping[str, tuple[ScopedRegistry, ...]] = {
    'assigner': (reg.TASK_UTILS,),
    'batch_sampler': (reg.DATA_SAMPLERS,),
    'bbox_coder': (reg.TASK_UTILS,),
    'collate_fn': (reg.FUNCTIONS,),
    'dataset': (reg.DATASETS,),
    'datasets': (reg.DATASETS,),
    'init_cfg': (reg.WEIGHT_INITIALIZERS,),
    'metrics': (reg.METRICS,),
    'optimizer': (reg.OPTIMIZERS,),
    'pipeline': (reg.TRANSFORMS,),
    'prior_generator': (reg.TASK_UTILS,),
    'sampler': (reg.TASK_UTILS,),
    'transforms': (reg.TRANSFORMS,),
    'vis_backends': (reg.VISBACKENDS,),
    'worker_init_fn': (reg.FUNCTIONS,),
}

# Read by whoever builds the node, beside the class's own arguments.
_READ_BY_BUILDER: Mapping[str, frozenset[str]] = {
    'init_cfg': frozenset({'override', 'name'}),
    'override': frozenset({'override', 'name'}),
    'norm_cfg': frozenset({'requires_grad'}),
    'param_scheduler': frozenset({'convert_to_iter_based'}),
    'default_hooks': frozenset({'priority'}),
    'custom_hooks': frozenset({'priority'}),
}


def check_config(cfg: Config | Mapping[str, Any]) -> None:
    """Refuse keys that no part reads and types that no registry holds.

    A component reads the arguments of its constructor; ``train_cfg`` and ``test_cfg``
    are read by the head, which declares their keys. Nothing is built.

    Args:
        cfg: A config whose plugins are loaded and whose OpenMMLab keys are translated.

    Raises:
        ConfigError: With one line a problem: the full path of the key and the nearest
            valid ones; for a type, the scopes searched and the nearest names.
    """
    checker = _Checker()
    for key in cfg:
        checker.section(key, cfg[key])
    if checker.problems:
        problems = list(checker.problems)
        if any('does not read this key' in problem for problem in problems):
            problems.append(
                'A node that changes only its `type` keeps the keys of the config it inherits'
                ' from; `_delete_=True` in the node drops them.'
            )
        raise ConfigError('\n'.join(problems))


class _Checker:
    """Walks a config and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._sections: dict[str, Callable[[str, Any], None]] = {
            'model': self._node_of(reg.MODELS, reg.TASK_UTILS),
            'data_preprocessor': self._node_of(reg.MODELS),
            'train_cfg': self._train_loop,
            'val_cfg': self._node_of(reg.LOOPS, default='ValLoop'),
            'test_cfg': self._node_of(reg.LOOPS, default='TestLoop'),
            'val_evaluator': self._node_of(reg.METRICS, reg.EVALUATOR, default='Evaluator'),
            'test_evaluator': self._node_of(reg.METRICS, reg.EVALUATOR, default='Evaluator'),
            'train_dataloader': self._loader,
            'val_dataloader': self._loader,
            'test_dataloader': self._loader,
            'optim_wrapper': self._optim_wrapper,
            'param_scheduler': self._node_of(reg.PARAM_SCHEDULERS),
            'default_hooks': self._node_of(reg.HOOKS),
            'custom_hooks': self._node_of(reg.HOOKS),
            'visualizer': self._node_of(reg.VISUALIZERS),
            'log_processor': self._node_of(reg.LOG_PROCESSORS, default='LogProcessor'),
        }

    def section(self, key: str, value: Any) -> None:
        """Check one top-level key."""
        if value is None or key not in TOP_LEVEL_KEYS:
            return
        if key in _PLAIN_SECTIONS:
            self._known(key, value, _PLAIN_SECTIONS[key])
            inner = value.get('mp_cfg') if key == 'env_cfg' and isinstance(value, Mapping) else None
            if inner is not None:
                self._known('env_cfg.mp_cfg', inner, _PROCESSES_KEYS)
        elif key in self._sections:
            self._sections[key](key, value)

    # Sections with rules of their own --------------------------------------------------

    def _node_of(
        self, *registries: ScopedRegistry, default: str | None = None
    ) -> Callable[[str, Any], None]:
        def check(path: str, value: Any) -> None:
            if default and isinstance(value, Mapping) and 'type' not in value:
                value = {'type': default, **value}
            self._descend(path, path, value, registries)

        return check

    def _train_loop(self, path: str, value: Any) -> None:
        if isinstance(value, Mapping) and 'type' not in value:
            kind = 'EpochBasedTrainLoop' if value.get('by_epoch', True) else 'IterBasedTrainLoop'
            value = {'type': kind, **{k: v for k, v in value.items() if k != 'by_epoch'}}
        self._descend(path, path, value, (reg.LOOPS,))

    def _loader(self, path: str, value: Any) -> None:
        self._known(path, value, _LOADER_KEYS)
        if not isinstance(value, Mapping):
            return
        self.problems += not_whole_numbers(path, value, _LOADER_COUNTS)
        for key, item in value.items():
            registries = _REGISTRY_OF_KEY.get(key, ())
            if key == 'sampler':
                registries = (reg.DATA_SAMPLERS,)
            self._descend(f'{path}.{key}', key, item, registries)

    def _optim_wrapper(self, path: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._known(path, value, ())
            return
        if 'optimizer' not in value and 'constructor' in value:
            return  # several optimizers: the constructor alone knows what it reads
        node = {'type': 'OptimWrapper', **value}
        constructor = find_type(node.pop('constructor', None), (reg.OPTIM_WRAPPER_CONSTRUCTORS,))
        paramwise = node.pop('paramwise_cfg', None)
        if constructor in (None, DefaultOptimWrapperConstructor) and paramwise:
            self._known(f'{path}.paramwise_cfg', paramwise, _PARAMWISE_KEYS)
        if isinstance(node.get('clip_grad'), Mapping):
            clip = node.pop('clip_grad')
            self._known(f'{path}.clip_grad', clip, _CLIP_KEYS)
            self.problems += not_numbers(f'{path}.clip_grad', clip, _CLIP_NUMBERS)
        self._descend(path, path, node, (reg.OPTIM_WRAPPERS,))

    # The general rule ------------------------------------------------------------------

    def _descend(
        self, path: str, key: str, value: Any, registries: tuple[ScopedRegistry, ...]
    ) -> None:
        """Check whatever stands at ``path``; ``key`` is the name it stands under."""
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self._descend(f'{path}[{index}]', key, item, registries)
        elif isinstance(value, Mapping):
            if 'type' in value:
                self._node(path, key, value, registries)
            else:
                self._children(path, value, registries, holder=key)

    def _node(
        self, path: str, key: str, node: Mapping, registries: tuple[ScopedRegistry, ...]
    ) -> None:
        found = find_type(node['type'], registries)
        if found is None:
            self._unknown_type(path, node['type'], registries)
            return
        accepted = accepted_keys(found)
        names = accepted.names | ALWAYS_READ | _READ_BY_BUILDER.get(key, frozenset())
        settings = {
            name: holder
            for holder in ('test_cfg', 'train_cfg')
            for name in getattr(found, f'{holder}_keys', ())
        }
        for name in _LAYERS & set(node):
            if isinstance(node[name], int) and node[name] > _MOST_LAYERS:
                self.problems.append(
                    f'{path}.{name}: expected at most {_MOST_LAYERS} layers, got {node[name]}'
                )
        owner = getattr(found, '__name__', '')
        self._known(path, node, names, owner=owner, open=accepted.open, settings=settings)
        if registries == (reg.TASK_UTILS,):
            # Other builders add arguments of their own: an optimizer gets its parameters.
            for missing in sorted(required_keys(found) - set(node)):
                self.problems.append(f'{path}.{missing}: {found.__name__} needs this key')
        for holder in ('train_cfg', 'test_cfg'):
            if isinstance(node.get(holder), Mapping):
                self._settings(f'{path}.{holder}', node[holder], node, holder)
        self._children(path, node, registries, holder=key)

    def _settings(self, path: str, settings: Mapping, node: Mapping, holder: str) -> None:
        """A head's ``train_cfg`` or ``test_cfg``; a two-stage detector's has parts."""
        parts = part_keys(node, holder)
        if parts is None:
            keys = declared_keys(node, holder)
            if keys is not None:
                self._known(path, settings, keys)
            return
        self._known(path, settings, parts)
        for part, keys in parts.items():
            if keys is not None and settings.get(part) is not None:
                self._known(f'{path}.{part}', settings[part], keys)

    def _children(
        self, path: str, node: Mapping, registries: tuple[ScopedRegistry, ...], *, holder: str
    ) -> None:
        for key, item in node.items():
            if key == 'type':
                continue
            if key == 'nms':  # named by `type`, but a function of the ops package
                self._nms(f'{path}.{key}', item)
                continue
            inner = _REGISTRY_OF_KEY.get(key, registries)
            # The hooks of `default_hooks` stand under names of the user's choice.
            name = holder if holder in ('default_hooks',) else str(key)
            self._descend(f'{path}.{key}', name, item, inner)

    def _nms(self, path: str, node: Any) -> None:
        if not isinstance(node, Mapping):
            return
        try:
            Suppression.of(node)
        except ConfigError as error:
            self.problems.append(f'{path.removesuffix("nms")}{error}')

    # Messages --------------------------------------------------------------------------

    def _known(
        self,
        path: str,
        node: Any,
        names: Iterable[str],
        *,
        owner: str = '',
        open: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(node, Mapping):
            self.problems.append(f'{path}: expected a dict, got {type(node).__name__}')
            return
        names = sorted(names)
        for key in node:
            if key in names or (open and not _is_near_miss(str(key), names)):
                continue
            if key in (settings or {}):
                holder = (settings or {})[key]
                self.problems.append(
                    f'{path}.{key}: {owner} reads this key in its {holder}: write it as '
                    f'model.{holder}.{key}.'
                )
                continue
            near = nearest_names(str(key), names) or [n for n in names if n not in _NOT_OFFERED]
            reader = f'{owner} does not read this key' if owner else 'no part reads this key'
            listed = ', '.join(near[:8]) + (' ...' if len(near) > 8 else '')
            self.problems.append(
                f'{path}.{key}: {reader}.' + (f' Nearest: {listed}.' if listed else '')
            )

    def _unknown_type(self, path: str, name: Any, registries: tuple[ScopedRegistry, ...]) -> None:
        registry = registries[0] if registries else reg.MODELS
        try:
            registry.get(str(name))
        except UnknownTypeError as error:
            self.problems.append(f'{path}.type: {error}')


def _is_near_miss(key: str, names: Iterable[str]) -> bool:
    """Whether ``key`` is so close to a name that it can only be a slip."""
    return bool(difflib.get_close_matches(key, list(names), n=1, cutoff=0.85))
