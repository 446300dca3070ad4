"""Hooks: non-finite losses, the progress bar, rotation of checkpoints, the report."""

import html
import io
import json
import re
import sys

import pytest
import torch
from mmengine.hooks import Hook, IterTimerHook

from registry_losses.commands.report import report_main
from registry_losses.engine import LogProcessor, NonFiniteLossHook, ProgressHook
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
    # The names of levels are coloured everywhere.
    text = re.sub(r'(\x1b\[[\d;]+m)+(INFO|WARNING)\x1b\[0m', '', capsys.readouterr().out)
    assert '\x1b[' not in text


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
    for name in ('Training is done', 'curves.png', 'report.html', 'epoch_3.pth', 'best_toy_mAP'):
        assert name in text
    page = (tmp_path / 'report.html').read_text()
    record = json.loads(next(tmp_path.glob('*/run.json')).read_text())
    assert record['seed'] == 3 and len(record['commit']) >= 40
    for part in (record['command'], record['commit'], record['versions']['torch'], 'toy_project'):
        assert html.escape(part) in page
    # For a run of before, without a record: the same page again, and it says so.
    next(tmp_path.glob('*/run.json')).unlink()
    report_main([str(tmp_path), '--out', str(tmp_path / 'sub' / 'again.html')])
    again = (tmp_path / 'sub' / 'again.html').read_text()
    assert 'made by an earlier version' in again and again.split('<h2>')[1] == page.split('<h2>')[1]
    with pytest.raises(SystemExit):
        report_main([str(tmp_path / 'sub')])
    assert 'no run of tools/train.py' in capsys.readouterr().err


def test_a_default_hook_of_ours_is_left_out_by_none(tmp_path, toy_runner):
    hooks = {'default_hooks.report': dict(type='ReportHook'), 'custom_hooks': []}
    kinds = [
        {type(hook).__name__ for hook in toy_runner(tmp_path, **{**hooks, **more}).hooks}
        for more in ({}, {'default_hooks.report': None})
    ]
    assert kinds[0] - kinds[1] == {'ReportHook'}


def test_the_log_says_in_the_first_minute_how_long_it_will_take(tmp_path, toy_runner, capsys):
    runner = toy_runner(tmp_path, **{'train_cfg.max_epochs': 5, 'default_hooks.logger.interval': 5})
    runner.train()
    text = re.sub(r'\x1b\[[\d;]*m', '', capsys.readouterr().out)
    (found,) = re.findall(r'([\d.]+) s a step: the 10 steps to come take about (\d+) s', text)
    assert float(found[0]) < 1
    line = next(line for line in text.splitlines() if 'Epoch(train)' in line)
    assert 'base_lr' not in line and len(line.split('INFO - ')[1]) < 120
    assert type(runner.log_processor) is LogProcessor and re.search(r'loss: \d+\.\d{3}$', line)
    # Each figure of a validation stands in one line of the log.
    assert text.count('toy/mAP: ') == 5


def test_bar_and_log_have_one_time_left(tmp_path, toy_runner, monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    runner = toy_runner(tmp_path, **{'default_hooks.logger.interval': 1})
    hook = next(h for h in runner.hooks if isinstance(h, ProgressHook))
    seen = []

    def spy(self, runner, batch_idx, **_):
        seen.append(hook._progress.tasks[0].fields['left'])

    hook_after = type('After', (Hook,), dict(priority='LOWEST', after_train_iter=spy))()
    runner.register_hook(hook_after)
    # Steps of a minute, so that seconds can differ.
    times = IterTimerHook._after_iter

    def slow(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
        self.t -= 61.7 * (1 + batch_idx % 3)
        times(self, runner, batch_idx, data_batch, outputs, mode)

    monkeypatch.setattr(IterTimerHook, '_after_iter', slow)
    runner.train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    logged = re.findall(r'Epoch\(train\).*?eta: ([\d:]+)', log)
    assert len(seen) == 18 and [s.removeprefix('left ') for s in seen] == logged
    assert len(set(logged)) > 10
