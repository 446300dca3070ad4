"""The quick start in small: RetinaNet on a few digits through the command lines.

Twenty images, a dozen steps; what it learns is not looked at here.
"""

import pickle
import signal
import sys
from pathlib import Path

import pytest
import torch

from registry_losses.commands.test import test_main as evaluate
from registry_losses.commands.train import train_main
from registry_losses.datasets import DigitsSpec, prepare_digits
from registry_losses.engine import find_resumable
from registry_losses.testing import forked
from registry_losses.testing.training import assert_processes_equal_one, assert_same_training_state

CONFIG = 'registry_losses::retinanet/retinanet_tiny_digits.py'
TOYS = Path(__file__).resolve().parents[1] / 'test_engine'
SPEC = DigitsSpec(num_train=20, num_val=6)


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """As in the subprocesses: sums of several threads round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    """Options that point the config at a small data set and make the run short."""
    root = tmp_path_factory.mktemp('digits')
    prepare_digits(root, SPEC)
    where = [
        f'{loader}.dataset.{key}={value}'
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for key, value in (
            ('data_root', f'{root}/'),
            ('num_train', SPEC.num_train),
            ('num_val', SPEC.num_val),
        )
    ]
    return [
        *where,
        f'val_evaluator.ann_file={root}/annotations/val.json',
        f'test_evaluator.ann_file={root}/annotations/val.json',
        'train_cfg.max_iters=9',
        'train_cfg.val_interval=9',
        'train_dataloader.batch_size=4',
        'default_hooks.checkpoint.interval=3',
        'default_hooks.logger.interval=3',
    ]


def train(work_dir, options, *arguments):
    """Train in this process."""
    train_main(
        [CONFIG, '--work-dir', str(work_dir), *arguments, '--cfg-options', *options]
        + [f'experiment_name={work_dir.name}']
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory, options):
    work_dir = tmp_path_factory.mktemp('trained')
    train(work_dir, options)
    return work_dir


def test_training_leaves_log_checkpoints_and_pictures(trained):
    for name in ('iter_9.pth', 'curves.png', 'predictions.png', 'last_checkpoint'):
        assert (trained / name).stat().st_size > 0, name
    assert list(trained.glob('best_coco_bbox_mAP_*.pth'))
    log = next(trained.glob('*/*.log')).read_text()
    assert 'Last validation: COCO AP' in log
    assert 'AP50' in log


def test_kill_9_then_resume_equals_the_uninterrupted_run(trained, tmp_path, options):
    hooks = (
        f"[dict(type='KillHook', marker='{tmp_path}/killed', iteration=8),"
        " dict(type='NonFiniteLossHook')]"
    )
    work_dir = tmp_path / 'killed_run'
    codes = forked.train(
        work_dir,
        main=train_main,
        config=CONFIG,
        options=[*options, 'custom_imports.imports=[toy_project]', f'custom_hooks={hooks}'],
        before=lambda: sys.path.append(str(TOYS)),
    )
    assert codes == [-signal.SIGKILL], forked.output(work_dir)[-2000:]
    assert find_resumable(work_dir).name == 'iter_6.pth'
    train(work_dir, [*options, 'train_dataloader.num_workers=1'], '--resume')
    assert_same_training_state(work_dir, trained)


# With the channels innermost sums are taken in an order that depends on the batch, and what they
# turn over grows from the second step on.
@pytest.mark.parametrize(
    ('steps', 'layout', 'by_script'),
    [
        (4, 'default_hooks.channels_last=None', False),
        (1, 'log_level=INFO', False),
        pytest.param(1, 'log_level=INFO', True, marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one_with_the_doubled_batch(
    tmp_path, options, steps, layout, by_script
):
    norm = "dict(type='GN', num_groups=8)"
    sgd = "dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)"
    assert_processes_equal_one(
        CONFIG,
        tmp_path,
        *(o for o in options if 'batch_size' not in o and 'max_iters' not in o),
        f'train_cfg.max_iters={steps}',
        layout,
        f'model.backbone.norm_cfg={norm}',
        f'model.bbox_head.norm_cfg={norm}',
        # Adam divides by the size of the gradient, which blows rounding up.
        f'optim_wrapper.optimizer={sgd}',
        'param_scheduler=None',
        batch_size=2,
        main=None if by_script else train_main,
        atol=1e-6,
    )


def test_test_reports_writes_and_draws(trained, tmp_path, options, capsys):
    evaluate(
        [CONFIG, str(trained / 'iter_9.pth'), '--work-dir', str(tmp_path / 'test')]
        + ['--out', str(tmp_path / 'out.pkl'), '--show-dir', str(tmp_path / 'pictures')]
        + ['--cfg-options', *options, 'experiment_name=test_of_digits']
    )
    assert 'coco/bbox_mAP' in capsys.readouterr().out
    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert len(predictions) == SPEC.num_val
    assert predictions[0]['pred_instances']['bboxes'].shape[1] == 4
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == SPEC.num_val
