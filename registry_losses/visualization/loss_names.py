"""Losses by what a user types: a name, or a call with options to be tried."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
from typing import Any

import torch

from ..errors import ConfigError
from ..losses import BaseLoss
from ..registry import MODELS


def registered_losses() -> dict[str, type[torch.nn.Module]]:
    """Every loss of this package, by name."""
    return {name: cls for name, cls in known_losses().items() if _is_ours(cls)}


def known_losses() -> dict[str, type[torch.nn.Module]]:
    """Every loss of this package, and those of plugins that are loaded, by name."""
    return {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if _is_ours(cls) or (isinstance(cls, type) and issubclass(cls, BaseLoss))
    }


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith('registry_losses.losses')


def parse_loss(text: str) -> list[tuple[str, torch.nn.Module]]:
    """Build what ``'FocalLoss:gamma=0,0.5,1:alpha=0.25'`` names: one loss a combination.

    Returns:
        Labels and losses.

    Raises:
        ConfigError: If there is no such loss (it names the nearest), no such option, or
            the loss refuses a value.
    """
    name, *parts = text.split(':')
    known = known_losses()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f'; nearest: {", ".join(near)}' if near else ''
        raise ConfigError(f'no loss is named {name!r}{hint}; there are {", ".join(sorted(known))}')
    accepted = [p for p in inspect.signature(known[name].__init__).parameters if p != 'self']
    options: dict[str, list[Any]] = {}
    for part in parts:
        key, equals, values = part.partition('=')
        if not equals or key not in accepted:
            near = difflib.get_close_matches(key, accepted, n=1)
            hint = f' (nearest: {near[0]})' if near else ''
            raise ConfigError(
                f'{name}: expected OPTION=VALUE[,VALUE...] of {", ".join(accepted)}, got '
                f'{part!r}{hint}'
            )
        options[key] = [_value(v) for v in _split(values)]
    built = []
    for combination in itertools.product(*options.values()):
        chosen = dict(zip(options, combination))
        try:
            loss = known[name](**chosen)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{text}: {error}') from error
        told = ', '.join(f'{key}={value}' for key, value in chosen.items())
        built.append((f'{name}({told})' if told else name, loss))
    return built


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in '[(') - (letter in '])')
        if letter == ',' and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
