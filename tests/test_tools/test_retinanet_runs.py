"""The real RetinaNet through tools/train.py: killed and resumed, and on two processes."""

import re
import signal
from pathlib import Path

import pytest

from registry_losses.datasets import DigitsDataset
from registry_losses.testing.training import (
    assert_same_training_state,
    final_state,
    run_tool,
    weight_differences,
)

HERE = Path(__file__).parent
CONFIG = HERE / 'retinanet_small.py'
TOYS = HERE.parent / 'test_engine'  # KillHook lives there


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """The digits, drawn once for all runs."""
    root = tmp_path_factory.mktemp('digits')
    DigitsDataset(data_root=str(root), num_train=24, num_val=6, progress=False)
    return root


def options(data_root, **more) -> list[str]:
    pairs = {
        'train_dataloader.dataset.data_root': data_root,
        'val_dataloader.dataset.data_root': data_root,
        'val_evaluator.ann_file': data_root / 'annotations' / 'val.json',
        **more,
    }
    return ['--cfg-options', *(f'{key}={value}' for key, value in pairs.items())]


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, data_root):
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    done = run_tool('train', CONFIG, '--work-dir', work_dir, *options(data_root))
    return work_dir, done.stdout + done.stderr


def test_the_run_leaves_log_curves_and_pictures(uninterrupted):
    work_dir, output = uninterrupted
    assert re.search(r'AP50', output), output[-2000:]
    pictures = [path.name for path in work_dir.rglob('*.png')]
    assert len(pictures) >= 2, pictures


def test_kill_9_and_resume_end_in_the_same_weights(tmp_path, data_root, uninterrupted):
    work_dir = tmp_path / 'run'
    hook = (
        f"[dict(type='NonFiniteLossHook'), dict(type='KillHook', iteration=5, "
        f"marker='{work_dir}.killed')]"
    )
    arguments = [CONFIG, '--work-dir', work_dir, *options(data_root, custom_hooks=hook)]
    arguments.append("custom_imports.imports=['toy_project']")
    killed = run_tool('train', *arguments, python_path=TOYS, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    run_tool('train', *arguments, '--resume', python_path=TOYS)
    assert_same_training_state(work_dir, uninterrupted[0])


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path, data_root, uninterrupted):
    two = options(data_root, **{'train_dataloader.batch_size': 2})
    run_tool('train', CONFIG, '--work-dir', tmp_path, *two, processes=2)
    states = final_state(tmp_path), final_state(uninterrupted[0])
    assert states[0]['meta']['iter'] == states[1]['meta']['iter'] == 6
    assert weight_differences(states[0]['state_dict'], states[1]['state_dict'], atol=2e-5) == []
