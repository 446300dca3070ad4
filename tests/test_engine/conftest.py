"""Training the toy project, in this process or another."""

import itertools
import sys
from pathlib import Path

import pytest

from registry_losses.config import load_config
from registry_losses.engine import Runner

HERE = Path(__file__).parent
CONFIG = HERE / 'toy_config.py'
_numbers = itertools.count()

sys.path.append(str(HERE))


@pytest.fixture
def toy_runner():
    """A function that makes a runner of the toy config in this process."""

    def make(work_dir, **options) -> Runner:
        options.setdefault('work_dir', str(work_dir))
        # MMEngine keeps loggers and message hubs by this name for the life of the process.
        options.setdefault('experiment_name', f'toy{next(_numbers)}')
        return Runner.from_cfg(load_config(CONFIG, options=options))

    return make
