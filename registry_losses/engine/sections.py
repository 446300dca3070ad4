"""Which section of a config holds a value that a part of the runner cannot be built with.

MMEngine and PyTorch raise whatever comes up at such a value: a TypeError for a batch size in
quotes, a KeyError for a log level that is none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigError, RegistryLossesError
from ..registry import WRONG_VALUE

SECTIONS: Mapping[str, str] = {
    'setup_env': 'env_cfg',
    'set_randomness': 'randomness',
    'build_logger': 'log_level',
    'build_visualizer': 'visualizer',
    'build_model': 'model',
    'build_dataloader': 'a data loader',
    'build_optim_wrapper': 'optim_wrapper',
    'build_param_scheduler': 'param_scheduler',
    '_check_scheduler_cfg': 'param_scheduler',
    'scale_lr': 'auto_scale_lr',
    'build_evaluator': 'an evaluator',
    'build_log_processor': 'log_processor',
    'register_hooks': 'default_hooks or custom_hooks',
    'build_train_loop': 'train_cfg',
    'build_val_loop': 'val_cfg',
    'build_test_loop': 'test_cfg',
    'load_or_resume': 'load_from or resume',
}
"""Method of a runner to the section of the config that it reads."""


@contextmanager
def section(name: str) -> Iterator[None]:
    """Turn what builders raise at wrong values into a ConfigError that names the section."""
    try:
        yield
    except RegistryLossesError:
        raise
    except WRONG_VALUE as error:
        raise ConfigError(f'{name}: {type(error).__name__}: {error}') from error


_TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def check_whole(cfg: Mapping[str, Any]) -> None:
    """Refuse a part of what training, validation or testing needs together.

    Raises:
        ConfigError: Naming what is missing, and what calls for it.
    """
    for keys in _TOGETHER:
        given = [key for key in keys if cfg.get(key) is not None]
        missing = [key for key in keys if key not in given]
        if given and missing:
            raise ConfigError(
                f'{" and ".join(given)} need {" and ".join(missing)}: add what is missing, or set'
                ' all three to None'
            )


def name_sections(runner: type) -> type:
    """Let the methods of a runner class that read a section of the config name it."""
    for method, name in SECTIONS.items():
        found = next(vars(c)[method] for c in runner.__mro__ if method in vars(c))
        if isinstance(found, staticmethod):
            setattr(runner, method, staticmethod(_named(found.__func__, name)))
        else:
            setattr(runner, method, _named(found, name))
    return runner


def _named(function: Callable, name: str) -> Callable:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with section(name):
            return function(*args, **kwargs)

    return call
