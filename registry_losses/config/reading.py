"""Which keys the class behind a config node reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from typing_extensions import Unpack, is_typeddict

from ..registry import ALL_REGISTRIES, ScopedRegistry

ALWAYS_READ = frozenset({'type', '_scope_', '_delete_'})


@dataclass(frozen=True)
class AcceptedKeys:
    """The keyword arguments of a callable.

    Attributes:
        names: Those that are named in a signature.
        open: Whether it takes others too, without saying which.
    """

    names: frozenset[str]
    open: bool = False


@cache
def accepted_keys(target: Any) -> AcceptedKeys:
    """What can be given to ``target``: a class, along its bases, or a function.

    A constructor's ``**kwargs`` stands for the keys of the ``TypedDict`` that it is annotated
    with (``**common: Unpack[...]``), else for the arguments of the next constructor in the
    method resolution order. Only where the last one still has ``**kwargs`` can the keys
    not be known.
    """
    if not inspect.isclass(target):
        return AcceptedKeys(*_signature(target))
    names: frozenset[str] = frozenset()
    constructors = [vars(c)['__init__'] for c in target.__mro__[:-1] if '__init__' in vars(c)]
    rest = False
    for constructor in constructors:
        own, rest = _signature(constructor)
        names |= own
        if not rest:
            break
    return AcceptedKeys(names - {'self'}, rest)


@cache
def required_keys(target: Any) -> frozenset[str]:
    """The arguments that have no default in the signature of a class or function."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # builtins without a signature
        return frozenset()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = {p.name for p in parameters if p.kind in named and p.default is p.empty}
    unpacked = _unpacked(parameters)
    return frozenset(own if unpacked is None else own | unpacked.__required_keys__)


def _signature(function: Any) -> tuple[frozenset[str], bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # builtins without a signature
        return frozenset(), True
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    unpacked = _unpacked(parameters)
    if unpacked is not None:
        return frozenset(named | set(unpacked.__annotations__)), False
    return frozenset(named), any(p.kind is p.VAR_KEYWORD for p in parameters)


def _unpacked(parameters: list[inspect.Parameter]) -> Any:
    """The ``TypedDict`` that a signature's ``**kwargs`` are annotated with; None without one."""
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD and get_origin(parameter.annotation) is Unpack:
            (options,) = get_args(parameter.annotation)
            return options if is_typeddict(options) else None
    return None


def find_type(name: Any, prefer: tuple[ScopedRegistry, ...] = ()) -> Any:
    """The class or function a node's ``type`` stands for, or None.

    Args:
        name: A registered name, or the object itself (in configs of pure Python).
        prefer: Registries to look in first; then all others.
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        return None
    rest = [r for r in ALL_REGISTRIES if r not in prefer]
    for registry in [*prefer, *rest]:
        found = registry.find(name)
        if found is not None:
            return found
    return None


def child_nodes(value: Any, path: str = '') -> Iterator[tuple[str, MutableMapping]]:
    """Every mapping inside ``value`` that has a ``type``, outermost first, with its path."""
    if isinstance(value, Mapping):
        if path and 'type' in value:
            yield path, value  # type: ignore[misc]
        for key in list(value):
            if key in value:  # a translation may have moved it
                yield from child_nodes(value[key], f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from child_nodes(item, f'{path}[{index}]')


def declared_keys(node: Mapping, holder: str) -> frozenset[str] | None:
    """The keys that may stand in a node's ``train_cfg`` or ``test_cfg``.

    A class declares them as ``train_cfg_keys`` and ``test_cfg_keys``. A detector hands
    the settings on, so those of its parts count.

    Returns:
        None where nobody declares any: the keys cannot be checked.
    """
    names: set[str] = set()
    known = False
    for _, part in [('', node), *child_nodes(dict(node))]:
        declared = getattr(find_type(part.get('type')), f'{holder}_keys', None)
        if declared is not None:
            names.update(declared)
            known = True
    return frozenset(names) if known else None


def part_keys(node: Mapping, holder: str) -> dict[str, frozenset[str] | None] | None:
    """The parts of a detector's ``train_cfg`` or ``test_cfg``, each with the keys it may hold.

    A detector of several heads declares, as ``train_cfg_parts`` and ``test_cfg_parts``, which
    part goes to which head, and as which of its settings.

    Returns:
        None where the settings have no parts.
    """
    parts = getattr(find_type(node.get('type')), f'{holder}_parts', None)
    if parts is None:
        return None
    return {
        part: declared_keys(node[head], as_) if isinstance(node.get(head), Mapping) else None
        for part, (head, as_) in parts.items()
    }


def not_numbers(path: str, node: Mapping, names: Iterable[str]) -> list[str]:
    """What is wrong with those values of ``node`` that ``float`` does not take."""
    found = []
    for key in sorted(set(names) & set(node)):
        try:
            float(node[key])
        except (TypeError, ValueError):
            found.append(f'{path}.{key}: expected a number, got {node[key]!r}')
    return found


def not_whole_numbers(path: str, node: Mapping, least: Mapping[str, int]) -> list[str]:
    """What is wrong with the counts of ``node``; one that is None is left to its default.

    Args:
        path: Where the node stands.
        node: A node of a config.
        least: The counts, and the least that each may be.
    """
    found = []
    for key, low in least.items():
        value = node.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < low):
            expected = f'a whole number of at least {low}'
            found.append(f'{path}.{key}: expected {expected}, got {value!r}')
    return found
