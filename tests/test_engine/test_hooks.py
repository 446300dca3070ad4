"""Hooks: non-finite losses, the progress bar, rotation of checkpoints, the report."""

import io
import sys

import pytest
import torch
from mmengine.hooks import Hook

from registry_losses.engine import NonFiniteLossHook, ProgressHook
from registry_losses.engine.hooks.non_finite import image_names
from registry_losses.errors import NonFiniteLossError
from registry_losses.structures import DetDataSample


def names(work_dir, pattern='*.pth'):
    return sorted(p.name for p in work_dir.glob(pattern))


def test_stops_at_the_first_loss_that_is_not_finite(tmp_path, toy_runner):
    runner = toy_runner(tmp_path, **{'model.nan_at': 1003})
    steps = []

    class Count(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            steps.append([s.img_id for s in data_batch['data_samples']])

    runner.register_hook(Count())
    with pytest.raises(NonFiniteLossError, match='1003') as error:
        runner.train()
    assert 1003 in steps[-1]
    assert all(1003 not in ids for ids in steps[:-1])
    assert all(str(i) in str(error.value) for i in steps[-1])
    assert f'iteration {len(steps)}:' in str(error.value)
    assert names(tmp_path) == []


def test_a_weight_that_is_not_finite_reaches_no_checkpoint(tmp_path, toy_runner):
    runner = toy_runner(tmp_path)

    class Spoil(Hook):
        priority = 'NORMAL'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 11:  # the last step of epoch 2
                with torch.no_grad():
                    runner.model.layers[0].bias[3] = float('inf')

    runner.register_hook(Spoil())
    with pytest.raises(NonFiniteLossError, match=r'layers\.0\.bias.*clip'):
        runner.train()
    assert names(tmp_path, 'epoch_*.pth') == ['epoch_1.pth']


def test_image_names():
    samples = [DetDataSample(metainfo=dict(img_id=4, img_path='a/b.png')), DetDataSample()]
    assert image_names(dict(data_samples=samples)) == ['4 (a/b.png)', '?']
    assert image_names([1]) == []
    assert image_names({}) == []


def test_the_hook_reads_no_loss_where_there_is_none():
    NonFiniteLossHook().after_train_iter(None, 0, None, {})


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_in_a_terminal_and_the_log_above_it(tmp_path, toy_runner, monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    runner = toy_runner(tmp_path)
    runner.train()
    text = terminal.getvalue()
    assert '18/18' in text
    assert 'loss' in text
    assert 'Epoch(val) [3]' in text
    assert text.rstrip().endswith('\x1b[?25h'), 'the cursor is given back'
    assert sys.stdout is terminal


def test_no_bar_elsewhere(tmp_path, toy_runner, capsys):
    runner = toy_runner(tmp_path)
    hook = next(h for h in runner.hooks if isinstance(h, ProgressHook))
    runner.train()
    assert hook._progress is None
    assert '\x1b[' not in capsys.readouterr().out.replace('\x1b[4;97mINFO\x1b[0m', '')


def test_rotation_writes_the_new_before_it_deletes_the_old(tmp_path, toy_runner, monkeypatch):
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    runner = toy_runner(tmp_path, **options)
    least = []
    save = type(runner).save_checkpoint

    def spy(self, *args, **kwargs):
        least.append(len(names(tmp_path, 'epoch_*.pth')))
        save(self, *args, **kwargs)

    monkeypatch.setattr(type(runner), 'save_checkpoint', spy)
    runner.train()
    assert min(least[1:]) == 1, 'there is always one to resume from'
    assert names(tmp_path, 'epoch_*.pth') == ['epoch_3.pth']


def test_the_best_is_kept_when_later_ones_are_worse(tmp_path, toy_runner):
    options = {
        # The rate rises a thousandfold: each epoch is worse than the one before.
        'param_scheduler': [dict(type='MultiStepLR', milestones=[1], gamma=1e3)],
        'default_hooks.checkpoint.max_keep_ckpts': 1,
    }
    runner = toy_runner(tmp_path, **options)
    runner.train()
    assert names(tmp_path) == ['best_toy_mAP_epoch_1.pth', 'epoch_3.pth']
    assert runner.message_hub.get_info('best_ckpt').endswith('best_toy_mAP_epoch_1.pth')


def test_several_best_metrics(tmp_path, toy_runner):
    options = {
        'default_hooks.checkpoint.save_best': ['toy/mAP', 'toy/loss'],
        'default_hooks.checkpoint.rule': ['greater', 'less'],
        'val_evaluator': [dict(type='ToyMetric'), dict(type='ToyLoss')],
    }
    toy_runner(tmp_path, **options).train()
    assert len(names(tmp_path, 'best_toy_mAP*')) == 1
    assert names(tmp_path, 'best_toy_loss*') == names(tmp_path, 'best_toy_loss*')[:1] != []


def test_tensorboard_by_one_line(tmp_path, toy_runner):
    pytest.importorskip('tensorboard')
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    visualizer = dict(type='DetVisualizer', vis_backends=backends)
    toy_runner(tmp_path, visualizer=visualizer, **{'train_cfg.max_epochs': 1}).train()
    assert list(tmp_path.glob('*/vis_data/events.out.tfevents.*'))
    assert list(tmp_path.glob('*/vis_data/scalars.json'))


def test_the_report_ends_the_run(tmp_path, toy_runner, capsys):
    runner = toy_runner(tmp_path, custom_hooks=[dict(type='ReportHook')])
    runner.train()
    assert (tmp_path / 'curves.png').stat().st_size > 5000
    text = capsys.readouterr().out
    for name in ('Training is done', 'curves.png', 'epoch_3.pth', 'best_toy_mAP'):
        assert name in text


def test_a_default_hook_of_ours_is_left_out_by_none(tmp_path, toy_runner):
    hooks = {'default_hooks.report': dict(type='ReportHook'), 'custom_hooks': []}
    kinds = [
        {type(hook).__name__ for hook in toy_runner(tmp_path, **{**hooks, **more}).hooks}
        for more in ({}, {'default_hooks.report': None})
    ]
    assert kinds[0] - kinds[1] == {'ReportHook'}
