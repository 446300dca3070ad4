"""From a name or path to a config that is ready to build."""

from __future__ import annotations

import copy
import os
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import ConfigError
from ..plugins import load_plugins
from .check import check_config
from .compat import translate_config
from .inheritance import import_reason, read_config
from .locations import resolve_config
from .schedule import Length, follow_length
from .sources import check_variables, helpers_of


def load_config(
    config: str | os.PathLike | Config, *, options: dict[str, Any] | None = None, check: bool = True
) -> Config:
    """Read a config, load the plugins it needs, translate and check it.

    Args:
        config: A path, a ``registry_losses::`` name, or a config.
        options: Dotted keys and values that override the file's. A dict whose ``type``
            differs from the one in the file takes that node's place whole.
        check: Refuse keys that no part reads.

    Returns:
        A config whose keys are all read by a part.

    Raises:
        ConfigError: If a key, type or value is wrong; with its full path.
    """
    import registry_losses  # noqa: F401  (registers everything)

    cfg = config if isinstance(config, Config) else read_config(resolve_config(config))
    before = Length.of(cfg.get('train_cfg'))
    if options:
        cfg.merge_from_dict(_replacing(cfg, options))
        if any(key.split('.')[0] == 'param_scheduler' for key in options):
            before = None  # the schedule of the options is meant as it stands
    try:
        load_plugins(cfg)
    except ImportError as error:
        raise ConfigError(f'{cfg.filename}: custom_imports: {import_reason(error)}') from error
    cfg.setdefault('default_scope', 'registry_losses')
    for note in follow_length(cfg, before=before):
        print_log(f'config: {note}', logger='current')
    if check:
        check_variables(cfg, options or {})
        translate_config(cfg, helpers=helpers_of(cfg))
        check_config(cfg)
    return cfg


def _replacing(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """A copy of the options in which a node of another type replaces the old one.

    Its old neighbours belong to the old type; MMEngine would keep them.

    Raises:
        ConfigError: If an option leads through a list entry that is not there, or a value
            that is no dict.
    """
    result = copy.deepcopy(options)  # MMEngine consumes `_delete_` in place
    for path, value in result.items():
        node = _node_at(cfg, path)
        if not isinstance(value, dict) or not isinstance(node, dict):
            continue
        if value.get('type', node.get('type')) != node.get('type'):
            value.setdefault('_delete_', True)
    return result


def _node_at(cfg: Config, path: str) -> Any:
    """What stands at a dotted path now; None where nothing does."""
    node: Any = cfg._cfg_dict
    names = path.split('.')
    for depth, name in enumerate(names):
        above = '.'.join(names[:depth])
        if isinstance(node, dict):
            if name not in node:
                return None
            node = node[name]
        elif isinstance(node, list):
            if not name.isdigit() or int(name) >= len(node):
                raise ConfigError(
                    f'--cfg-options {path}: {above} is a list of {len(node)} entries, numbered'
                    f' from 0; there is no entry {name!r}'
                )
            node = node[int(name)]
        elif node is None:
            return None
        else:
            raise ConfigError(
                f'--cfg-options {path}: {above} is {node!r}, which has no key {name!r}'
            )
    return node
