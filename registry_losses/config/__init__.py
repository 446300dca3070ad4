"""Configs: found, overridden, translated from OpenMMLab's, and checked key by key."""

from .check import check_config
from .compat import OLD_TOP_LEVEL_KEYS, TABLE, TYPE_NAMES, describe_table, translate_config
from .loading import load_config
from .locations import configs_folder, resolve_config
from .options import ConfigOption, parse_value
from .reading import accepted_keys
from .sources import TOP_LEVEL_KEYS, check_variables

__all__ = [
    'OLD_TOP_LEVEL_KEYS',
    'TABLE',
    'TOP_LEVEL_KEYS',
    'TYPE_NAMES',
    'ConfigOption',
    'accepted_keys',
    'check_config',
    'check_variables',
    'configs_folder',
    'describe_table',
    'load_config',
    'parse_value',
    'resolve_config',
    'translate_config',
]
