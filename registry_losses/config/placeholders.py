"""Placeholders: ``{{ fileDirname }}``, ``{{$DATA_ROOT:data}}`` and ``{{_base_.x}}``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import ConfigError

_VARIABLE = re.compile(r"""\{\{(['"]?)\s*\$(\w+)\s*(?::\s*(\S*?))?\s*\1\}\}""")
_BASE = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')


def fill_in(path: Path, text: str) -> tuple[str, dict[str, str]]:
    """Fill in what the file's own name and the environment say.

    Returns:
        The text, line for line, and the environment variables that were read.

    Raises:
        ConfigError: With file and line, if a variable is not set and has no default.
    """
    own = dict(
        fileDirname=str(path.parent),
        fileBasename=path.name,
        fileBasenameNoExtension=path.stem,
        fileExtname=path.suffix,
    )
    for name, value in own.items():
        value = value.replace('\\', '/')  # so that re.sub reads no escapes, too
        text = re.sub(r'\{\{\s*' + name + r'\s*\}\}', value, text)
    found: dict[str, str] = {}

    def replace(match: re.Match) -> str:
        name, default = match.group(2), match.group(3)
        value = os.environ.get(name, default)
        if value is None or (value == '' and name not in os.environ):
            line = text.count('\n', 0, match.start()) + 1
            raise ConfigError(
                f'{path}:{line}: the environment variable {name} is not set and has no default:'
                f' set it, or write {{{{${name}:DEFAULT}}}}'
            )
        if name in os.environ:
            found[name] = value
        return value

    return _VARIABLE.sub(replace, text), found


def is_base_placeholder(text: str) -> str | None:
    """The dotted name in ``{{_base_.name}}``, where ``text`` is that and nothing else."""
    match = _BASE.fullmatch(text.strip())
    return match.group(1) if match else None


def split_base_placeholders(text: str) -> list[str]:
    """``'a{{_base_.x}}b'`` as ``['a', 'x', 'b']``: text and dotted names in turn."""
    return _BASE.split(text)
