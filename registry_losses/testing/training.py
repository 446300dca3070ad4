"""Runs of the command line tools, and comparisons of what they leave, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..engine import find_resumable, load_checkpoint_file
from . import forked

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run_tool(
    name: str,
    *arguments: str | os.PathLike,
    processes: int = 1,
    python_path: str | os.PathLike | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run ``tools/NAME.py``, or ``tools/dist_NAME.sh`` where there are several processes.

    Args:
        name: 'train' or 'test'.
        *arguments: Config first.
        processes: Processes of a distributed run; 1 is an ordinary one.
        python_path: Folder to put on the import path, for ``custom_imports``.
        env: Environment variables to add.
        check: Raise, showing the output, if the tool fails.
        timeout: Seconds.
    """
    # For dist_test.sh the number of processes comes after config and checkpoint.
    if processes > 1:
        words = [str(a) for a in arguments]
        words.insert(1 if name == 'train' else 2, str(processes))
        command = ['bash', str(TOOLS / f'dist_{name}.sh'), *words]
    else:
        command = [sys.executable, str(TOOLS / f'{name}.py'), *(str(a) for a in arguments)]
    variables = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **(env or {})}
    folders = [str(TOOLS.parent), variables.get('PYTHONPATH', '')]
    if python_path is not None:
        folders.insert(0, str(python_path))
    variables['PYTHONPATH'] = os.pathsep.join(f for f in folders if f)
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f'{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}')
    return done


def final_state(work_dir: str | os.PathLike) -> dict[str, Any]:
    """The newest whole checkpoint of a work directory."""
    path = find_resumable(Path(work_dir))
    assert path is not None, f'{work_dir}: no whole checkpoint'
    return load_checkpoint_file(path)


def weight_differences(
    state: Mapping[str, Any], other: Mapping[str, Any], *, atol: float = 0.0, rtol: float = 0.0
) -> list[str]:
    """The names of the tensors of two state dicts that differ; exact by default."""
    names = [n for n in state if n not in other] + [n for n in other if n not in state]
    for name in state:
        if name in other and isinstance(state[name], torch.Tensor):
            a, b = state[name], other[name]
            same = torch.equal(a, b) if not (atol or rtol) else torch.allclose(a, b, rtol, atol)
            if not same:
                names.append(name)
    return names


def assert_same_training_state(work_dir: str | os.PathLike, other: str | os.PathLike) -> None:
    """Assert that two runs ended in the same state, bit for bit.

    Weights, averaged weights, optimizer and schedulers are compared.
    """
    a, b = final_state(work_dir), final_state(other)
    for key in ('state_dict', 'ema_state_dict'):
        assert weight_differences(a.get(key, {}), b.get(key, {})) == [], key
    for key in ('optimizer', 'param_schedulers'):
        assert _equal(a.get(key), b.get(key)), key
    assert a['meta']['iter'] == b['meta']['iter']


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, Mapping):
        return (
            isinstance(b, Mapping) and a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def assert_processes_equal_one(
    config: str | os.PathLike,
    work_dir: str | os.PathLike,
    *options: str,
    batch_size: int,
    processes: int = 2,
    main: forked.Main | None = None,
    atol: float = 1e-5,
    rtol: float = 1e-4,
) -> None:
    """Assert that several processes train the weights that one with their whole batch does.

    Args:
        config: A config of a few steps, without batch norm in training mode and without
            random draws inside the model.
        work_dir: Folder for the two runs.
        *options: Further ``--cfg-options``.
        batch_size: Of each of the processes.
        processes: How many.
        main: ``commands.train.train_main``, to train in forks of this process; None to run
            ``tools/dist_train.sh`` and ``tools/train.py``.
        atol: Absolute tolerance of a weight.
        rtol: Relative tolerance of a weight.
    """
    runs = []
    for count in (processes, 1):
        folder = Path(work_dir) / f'processes{count}'
        own = [f'train_dataloader.batch_size={batch_size * processes // count}', *options]
        if main is None:
            words = [config, '--work-dir', folder, '--cfg-options', *own]
            run_tool('train', *words, processes=count)
        else:
            codes = forked.train(
                folder, main=main, config=config, options=own, processes=count, timeout=120
            )
            texts = [forked.output(folder, rank)[-4000:] for rank in range(count)]
            assert codes == [0] * count, '\n'.join(texts)
        runs.append(final_state(folder))
    many, one = runs
    assert many['meta']['iter'] == one['meta']['iter'] > 0
    different = weight_differences(many['state_dict'], one['state_dict'], atol=atol, rtol=rtol)
    assert different == [], f'{len(different)} weights differ, for instance {different[:3]}'
