"""`make env`: which builds of PyTorch it asks for, and what it does when an index is away."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = 'https://download.pytorch.org/whl/cpu'

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='needs make')


def pip_calls(tmp_path: Path, *arguments: str, index_answers: bool, gpu: bool = False) -> list[str]:
    """What each `pip install` of `make env` is told, by a Python that only writes it down."""
    venv, path = tmp_path / 'venv', tmp_path / 'path'
    (venv / 'bin').mkdir(parents=True)
    path.mkdir()
    log = tmp_path / 'calls'
    log.touch()
    status = 0 if index_answers else 1
    python = venv / 'bin' / 'python'
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *install*) echo "$*" >> {log};; esac\n'
        f'case "$*" in *{INDEX}*) exit {status};; esac\n'
    )
    python.chmod(0o755)
    for tool in ('make', 'sh', 'bash', 'echo', 'touch', 'env', 'uname', 'dirname', 'basename'):
        if found := shutil.which(tool):
            (path / tool).symlink_to(found)
    if gpu:
        (path / 'nvidia-smi').write_text('#!/bin/sh\n')
        (path / 'nvidia-smi').chmod(0o755)
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'PYTHON', 'PIP_ARGS')}
    subprocess.run(
        ['make', '-C', str(ROOT), 'env', f'VENV={venv}', *arguments],
        env={**env, 'PATH': str(path)},
        check=True,
        capture_output=True,
    )
    return log.read_text().splitlines()


def test_without_a_gpu_the_index_of_cpu_builds_comes_first(tmp_path):
    calls = pip_calls(tmp_path, index_answers=True)
    assert INDEX in calls[0] and calls[0].endswith('torch==2.13.0')
    assert '--retries 0' in calls[0]
    assert len(calls) == 2 and INDEX not in calls[1]


def test_where_that_index_is_away_pip_takes_what_it_has(tmp_path):
    calls = pip_calls(tmp_path, index_answers=False)
    assert [INDEX in call for call in calls] == [True, False, False]
    assert calls[1].endswith('torch==2.13.0')


@pytest.mark.parametrize(
    'options', [dict(gpu=True), dict(more='PIP_ARGS=-v'), dict(more='CPU_INDEX=')]
)
def test_with_a_gpu_or_arguments_of_ones_own_it_is_not_asked(tmp_path, options):
    more = [options['more']] if 'more' in options else []
    calls = pip_calls(tmp_path, *more, index_answers=True, gpu=options.get('gpu', False))
    assert len(calls) == 2 and not any(INDEX in call for call in calls)
