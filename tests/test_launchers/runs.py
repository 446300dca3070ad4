"""A digits config of a few steps that is trained the same way under every launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry_losses.datasets import DigitsSpec, prepare_digits
from registry_losses.testing.training import TOOLS, final_state, weight_differences

HERE = Path(__file__).parent
CONFIG = 'registry_losses::retinanet/retinanet_tiny_digits.py'
BATCH = 4  # images a step, of all processes together
STEPS = 4
TRAIN = str(TOOLS / 'train.py')

SPEC = DigitsSpec(num_train=20, num_val=6)


def options(root: Path, *, steps: int = STEPS) -> list[str]:
    """``--cfg-options``: a data set of twenty images in ``root``, group norm, plain SGD.

    Batch norm counts the images of its own process, and Adam divides by the size of the
    gradient, which blows rounding up. With the channels innermost sums are taken in an order
    that depends on the batch.
    """
    prepare_digits(root, SPEC)
    norm = "dict(type='GN', num_groups=8)"
    data = [
        f'{loader}.dataset.{key}={value}'
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for key, value in (('data_root', f'{root}/'), ('num_train', 20), ('num_val', 6))
    ]
    return [
        *data,
        f'val_evaluator.ann_file={root}/annotations/val.json',
        f'test_evaluator.ann_file={root}/annotations/val.json',
        f'train_cfg.max_iters={steps}',
        f'train_cfg.val_interval={steps}',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.report=None',
        'default_hooks.channels_last=None',
        f'model.backbone.norm_cfg={norm}',
        f'model.bbox_head.norm_cfg={norm}',
        "optim_wrapper.optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9,"
        ' weight_decay=0.0001)',
        'param_scheduler=None',
    ]


def train_words(
    work_dir: Path, data: Sequence[str], *, processes: int, more: Sequence[str] = ()
) -> list[str]:
    """The arguments of ``tools/train.py`` for one of ``processes`` processes.

    Args:
        work_dir: The work directory.
        data: Of :func:`options`, and further options.
        processes: The batch is shared by so many.
        more: Arguments before ``--cfg-options``.
    """
    size = f'train_dataloader.batch_size={BATCH // processes}'
    return [CONFIG, '--work-dir', str(work_dir), *more, '--cfg-options', size, *data]


def hooks(*nodes: str) -> list[str]:
    """``--cfg-options`` that add hooks of ``faults.py``."""
    return [
        'custom_imports.imports=[faults]',
        f'custom_hooks=[{", ".join(nodes)}]',
    ]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that the tools need, without those of a launcher around the tests."""
    launchers = ('SLURM_', 'OMPI_', 'PMIX_', 'PMI_', 'MASTER_', 'TORCHELASTIC_')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(launchers)}
    path = os.pathsep.join([str(TOOLS.parent), str(HERE), kept.get('PYTHONPATH', '')])
    return {
        **kept,
        'PYTHONPATH': path.rstrip(os.pathsep),
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        **(more or {}),
    }


def call(
    command: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 400,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=TOOLS.parent,
    )
    if check and done.returncode:
        raise AssertionError(f'{words} failed:\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}')
    return done


def assert_same_weights(work_dir: Path, other: Path, *, atol: float = 1e-6) -> None:
    """Assert that two runs ended after as many steps with the same weights."""
    one, two = final_state(work_dir), final_state(other)
    assert one['meta']['iter'] == two['meta']['iter'] > 0
    assert weight_differences(one['state_dict'], two['state_dict'], atol=atol) == []


def free_port() -> int:
    """A port of this machine that is free."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def wait_for(path: Path, *, seconds: float = 200) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f'{path} is not there after {seconds:.0f} s'
        time.sleep(0.2)
