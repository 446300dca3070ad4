"""Values given on the command line: ``--cfg-options key=value``."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError

_WORDS = {'true': True, 'false': False, 'none': None, 'null': None, 'inf': float('inf')}


def parse_value(text: str) -> Any:
    """Read one value as Python would, without running anything.

    Numbers, strings (quotes optional), true/false/None, lists, tuples, and dicts written
    ``{'a': 1}`` or ``dict(a=1)``, nested at will. ``1,2`` is a list. What is none of
    these, a path for instance, is a string.

    Stands for MMEngine's ``DictAction``, which recurses without end on a list of dicts.

    Raises:
        ConfigError: If the brackets promise a list or dict that cannot be read.

    Example:
        >>> parse_value("[dict(type='LocalVisBackend'), 3e-4]")
        [{'type': 'LocalVisBackend'}, 0.0003]
        >>> parse_value('work_dirs/a.pth')
        'work_dirs/a.pth'
    """
    try:
        node = ast.parse(text.strip(), mode='eval').body
        value = _value(node)
    except (SyntaxError, ValueError, RecursionError) as error:
        if text.strip()[:1] in ('[', '(', '{') or text.strip().startswith('dict('):
            raise ConfigError(
                f'--cfg-options: cannot read {text!r} ({error}). Quote the option in the shell and'
                ' strings within lists and dicts, e.g. "key=[dict(type=\'X\', a=1)]".'
            ) from None
        return [parse_value(part) for part in text.split(',')] if ',' in text else text
    # "1,2" without brackets is a list, as OpenMMLab users expect.
    bare = isinstance(node, ast.Tuple) and not text.strip().startswith('(')
    return list(value) if bare else value


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.List):
        return [_value(e) for e in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(e) for e in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values)
        return {_value(k): _value(v) for k, v in pairs}  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _value(node.operand)
        if isinstance(value, (int, float)):
            return -value if isinstance(node.op, ast.USub) else value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == 'dict'
        and not node.args
        and all(k.arg for k in node.keywords)
    ):
        return {str(k.arg): _value(k.value) for k in node.keywords}
    raise ValueError(f'{ast.unparse(node)} is not a plain value')


class ConfigOption(argparse.Action):
    """``--cfg-options a.b=1 c=[2,3]`` as a dict of dotted keys."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to those given before."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for pair in values or []:
            key, sign, text = str(pair).partition('=')
            if not sign or not key:
                parser.error(f'{option_string}: expected key=value, got {pair!r}')
            try:
                options[key] = parse_value(text)
            except ConfigError as error:
                parser.error(str(error))
        setattr(namespace, self.dest, options)
