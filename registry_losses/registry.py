"""The registries of scope ``registry_losses``, one child for every MMEngine root.

This module imports MMEngine and the exceptions, nothing else: an ``ImportError`` raised while it
loads would surface as a misleading "not in the registry". Every root has a child
here because MMEngine warns about, and falls back to the root for, a scope that
lacks one.

Losses, heads, necks, backbones and detectors live in :data:`MODELS`; assigners,
samplers, coders, prior generators and match costs live in :data:`TASK_UTILS`.
"""

from collections.abc import Mapping
from typing import Any

from mmengine import registry as _root
from mmengine.registry import Registry

from .errors import ConfigError, RegistryLossesError, UnknownTypeError, nearest_names

SCOPE = 'registry_losses'

# What constructors raise at values that they were not made for.
WRONG_VALUE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip

_LOCATIONS = ['registry_losses']

ALL_REGISTRIES: 'list[ScopedRegistry]' = []
"""Every registry of this scope, in the order of definition."""


class ScopedRegistry(Registry):
    """A registry whose answer to an unknown name is an error that helps.

    MMEngine's ``get`` returns None, and each of its callers then words its own
    ``KeyError`` without the names that would have been valid. Raising here gives every
    caller (builders, MMCV's layer factories, OpenMMLab's runners) the same message.
    """

    def get(self, key: str) -> Any:
        """Return the object registered as ``key``.

        Raises:
            UnknownTypeError: With the scopes searched and the nearest names.
        """
        found = self.find(key)
        if found is None:
            raise UnknownTypeError(self._unknown(key))
        return found

    def find(self, key: str) -> Any:
        """Return the object registered as ``key``, or None."""
        scope = key.rpartition('.')[0]
        if not scope:
            return self._find_name(key)
        if not all(part.isidentifier() for part in scope.split('.')):
            return None  # '../x': MMEngine would import it
        try:
            return super().get(key)
        except UnknownTypeError:
            return None
        except RuntimeError as error:  # MMEngine: importing the dotted name itself failed
            if 'Failed to get' not in str(error):
                raise
            return None

    def _find_name(self, name: str) -> Any:
        """What a name without a scope stands for here or in an ancestor, or None.

        As MMEngine's ``get``, which also searches the import path for a module of an unknown
        name: a millisecond each time, and at times a module is found.
        """
        self.import_from_location()
        registry: Registry | None = self
        while registry is not None:
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent
        return None

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Build what a config node describes.

        A type named with another scope brings that scope: ``mmdet.MaxIoUAssigner`` finds its
        own default ``BboxOverlaps2D`` without a ``_scope_`` beside it.

        Raises:
            ConfigError: If the node is none, has no type, lacks an argument, or holds a value
                that the part cannot be built with; what it raised is the cause.
        """
        name = cfg.get('type') if isinstance(cfg, Mapping) else None
        scope = self.split_scope_key(name)[0] if isinstance(name, str) else None
        if scope is not None and scope != self.scope and scope in self.root.children:
            cfg = {'_scope_': scope, **cfg}
        try:
            return super().build(cfg, *args, **kwargs)
        except RegistryLossesError:
            raise
        except WRONG_VALUE as error:
            raise ConfigError(self._not_built(cfg, error)) from error

    def _not_built(self, cfg: Any, error: Exception) -> str:
        if not isinstance(cfg, Mapping):
            return f'{self.name}: expected a node dict(type=...), got {cfg!r:.80}'
        if 'type' not in cfg:
            near = nearest_names('type', [str(key) for key in cfg])
            hint = f' (is {near[0]!r} meant as its type?)' if near else ''
            keys = ', '.join(map(str, cfg)) or 'none'
            return f'{self.name}: a node without a type; its keys are {keys}{hint}'
        kind = getattr(cfg['type'], '__name__', cfg['type'])
        keys = ', '.join(str(key) for key in cfg if key != 'type') or 'none'
        return (
            f'{kind}: cannot be built from its node ({type(error).__name__}: {error}); '
            f'check the values of its keys: {keys}'
        )

    def __contains__(self, key: str) -> bool:
        """Whether ``key`` can be built here."""
        return self.find(key) is not None

    def _unknown(self, key: str) -> str:
        scope, name = self.split_scope_key(key)
        searched: dict[str, Registry] = {}
        registry: Registry | None = self
        while registry is not None:
            searched[registry.scope] = registry
            registry = registry.parent
        lines = [f'unknown type {key!r} in the {self.name!r} registry.']
        if scope is not None and scope not in searched:
            known = self.root.children.get(scope)
            if known is None:
                lines.append(
                    f'Scope {scope!r} is not there: is the package installed, and does it'
                    f' have a module {scope}.registry?'
                )
            else:
                searched = {scope: known}
        names = [n for r in searched.values() for n in r.module_dict]
        lines.append(
            'Scopes searched: '
            + ', '.join(f'{s} ({len(r.module_dict)} names)' for s, r in searched.items())
            + '.'
        )
        near = nearest_names(name, names)
        if near:
            lines.append('Nearest: ' + ', '.join(near) + '.')
        elsewhere = [r.name for r in ALL_REGISTRIES if r is not self and name in r.module_dict]
        if elsewhere:
            lines.append(
                f'A {name} is registered as a {elsewhere[0]}: is it used in the right place?'
            )
        lines.append(
            "A class of your own registers when its module is listed in the config's"
            ' custom_imports, or by an entry point in the group registry_losses.plugins.'
        )
        return ' '.join(lines)


def _child(name: str, parent: Registry) -> ScopedRegistry:
    registry = ScopedRegistry(name, parent=parent, scope=SCOPE, locations=_LOCATIONS)
    ALL_REGISTRIES.append(registry)
    return registry


MODELS = _child('model', _root.MODELS)
TASK_UTILS = _child('task util', _root.TASK_UTILS)

DATASETS = _child('dataset', _root.DATASETS)
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS)
TRANSFORMS = _child('transform', _root.TRANSFORMS)
FUNCTIONS = _child('function', _root.FUNCTIONS)
METRICS = _child('metric', _root.METRICS)
EVALUATOR = _child('evaluator', _root.EVALUATOR)

HOOKS = _child('hook', _root.HOOKS)
LOOPS = _child('loop', _root.LOOPS)
RUNNERS = _child('runner', _root.RUNNERS)
RUNNER_CONSTRUCTORS = _child('runner constructor', _root.RUNNER_CONSTRUCTORS)
STRATEGIES = _child('strategy', _root.STRATEGIES)
LOG_PROCESSORS = _child('log processor', _root.LOG_PROCESSORS)
INFERENCERS = _child('inferencer', _root.INFERENCERS)

MODEL_WRAPPERS = _child('model wrapper', _root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child('weight initializer', _root.WEIGHT_INITIALIZERS)
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS)
OPTIM_WRAPPERS = _child('optim wrapper', _root.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child('optim wrapper constructor', _root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child('parameter scheduler', _root.PARAM_SCHEDULERS)

VISUALIZERS = _child('visualizer', _root.VISUALIZERS)
VISBACKENDS = _child('vis backend', _root.VISBACKENDS)
