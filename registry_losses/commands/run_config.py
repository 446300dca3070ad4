"""From the arguments of ``train`` and ``test`` to a config and a runner."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from ..config import load_config
from ..engine.distributed import check_not_launched
from ..engine.runner import Runner
from ..registry import RUNNERS


def run_config(args: argparse.Namespace) -> Config:
    """The config that the arguments of :func:`.cli.add_run_arguments` describe.

    Raises:
        ConfigError: If the config is wrong, or an option does not fit it.
    """
    if args.launcher == 'none':
        check_not_launched()
    cfg = load_config(args.config, options=args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename or 'config').stem)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner of a config: ours unless the config names another by ``runner_type``."""
    if cfg.get('runner_type'):
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)
