"""Faster R-CNN through the command lines: train, resume, test and infer on a few digits."""

import json
import pickle

import pytest

from registry_losses.commands.infer import infer_main
from registry_losses.commands.test import test_main as evaluate
from registry_losses.commands.train import train_main
from registry_losses.datasets import DigitsSpec, prepare_digits

CONFIG = 'registry_losses::faster_rcnn/faster_rcnn_tiny_digits.py'
SPEC = DigitsSpec(num_train=8, num_val=3)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A folder of digits, the options that lead there, and where the training went."""
    root, work_dir = (tmp_path_factory.mktemp(name) for name in ('digits', 'work'))
    prepare_digits(root, SPEC)
    options = [
        f'{loader}.dataset.{key}={value}'
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for key, value in (
            ('data_root', f'{root}/'),
            ('num_train', SPEC.num_train),
            ('num_val', SPEC.num_val),
        )
    ]
    options += [
        f'{name}_evaluator.ann_file={root}/annotations/val.json' for name in ('val', 'test')
    ]
    options += ['train_cfg.max_iters=4', 'train_cfg.val_interval=4']
    options += ['train_dataloader.batch_size=2', 'default_hooks.checkpoint.interval=2']
    options += ['default_hooks.logger.interval=1', 'model.test_cfg.rcnn.score_thr=0.0']
    train_main([CONFIG, '--work-dir', str(work_dir), '--cfg-options', *options])
    return root, options, work_dir


def test_training_logs_both_stages(run):
    _, _, work_dir = run
    log = next(work_dir.glob('*/*.log')).read_text()
    for word in ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc', 'COCO AP'):
        assert word in log
    for name in ('iter_4.pth', 'curves.png', 'predictions.png'):
        assert (work_dir / name).stat().st_size > 0, name


def test_test_reports_every_image(run, tmp_path, capsys):
    _, options, work_dir = run
    evaluate(
        [CONFIG, str(work_dir / 'iter_4.pth'), '--work-dir', str(tmp_path / 'test')]
        + ['--out', str(tmp_path / 'out.pkl')]
        + ['--cfg-options', *options, 'experiment_name=test_of_two_stages']
    )
    assert 'coco/bbox_mAP' in capsys.readouterr().out
    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert len(predictions) == SPEC.num_val
    assert all(len(each['pred_instances']['scores']) for each in predictions)


def test_infer_draws_and_names_the_classes(run, tmp_path):
    root, options, work_dir = run
    infer_main(
        [CONFIG, str(work_dir / 'iter_4.pth'), str(root / 'val'), '--out', str(tmp_path)]
        + ['--device', 'cpu', '--score-thr', '0', '--cfg-options', *options]
    )
    rows = json.loads((tmp_path / 'results.json').read_text())
    assert {row['image_id'] for row in rows} and all(row['bbox'][2] > 0 for row in rows)
    names = [c['name'] for c in json.loads((tmp_path / 'images.json').read_text())['categories']]
    assert names == [str(digit) for digit in range(10)]
