"""A run that is killed and resumed ends where the uninterrupted one does."""

import shutil
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from registry_losses.commands.train import train_main
from registry_losses.engine import find_resumable, load_checkpoint_file
from registry_losses.errors import CheckpointError
from registry_losses.testing.training import (
    assert_same_training_state,
    final_state,
    weight_differences,
)

from . import forked
from .conftest import CONFIG

ITERATIONS = {
    'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=18, val_interval=5),
    'default_hooks.checkpoint.by_epoch': False,
    'default_hooks.checkpoint.interval': 4,
    'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=18)],
}


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """The work directory of an uninterrupted run."""
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    options = ['--cfg-options', 'experiment_name=uninterrupted']
    train_main([str(CONFIG), '--work-dir', str(work_dir), *options])
    return work_dir


def killed(work_dir, **kill):
    hook = ', '.join(f'{k}={v!r}' for k, v in kill.items())
    hooks = (
        "[dict(type='EMAHook', momentum=0.1), dict(type='NonFiniteLossHook'),"
        f" dict(type='KillHook', marker='{work_dir}.killed', {hook})]"
    )
    option = f'custom_hooks={hooks}'
    assert forked.train(work_dir, options=[option]) == [-signal.SIGKILL], forked.output(work_dir)
    return [CONFIG, '--work-dir', work_dir, '--cfg-options', option]


def test_kill_9_within_an_epoch_then_the_same_command_with_resume(tmp_path, uninterrupted):
    work_dir = tmp_path / 'run'
    arguments = killed(work_dir, iteration=15)
    assert find_resumable(work_dir).name == 'epoch_2.pth'
    train_main([*map(str, arguments), 'experiment_name=killed', '--resume'])
    assert_same_training_state(work_dir, uninterrupted)
    best = {p.name for d in (work_dir, uninterrupted) for p in d.glob('best_*.pth')}
    assert len(best) == 1


def test_kill_9_while_a_checkpoint_is_written(tmp_path, uninterrupted, toy_runner):
    work_dir = tmp_path / 'run'
    killed(work_dir, while_writing='epoch_2.pth')
    assert [p.name for p in work_dir.glob('epoch_*.pth')] == ['epoch_1.pth']
    assert list(work_dir.glob('.epoch_2.pth.*.tmp')), 'the test must leave half a file behind'
    toy_runner(work_dir, resume=True).train()
    assert_same_training_state(work_dir, uninterrupted)
    assert not list(work_dir.glob('.*.tmp'))


def test_checkpoints_between_epochs_resume_at_the_next_batch(tmp_path, toy_runner, uninterrupted):
    """Epochs of 6 steps, checkpoints every 4: the resume starts in the middle of epoch 3."""
    options = {
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 4,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
    }
    toy_runner(tmp_path / 'a', **options).train()
    part = tmp_path / 'b'
    part.mkdir()
    shutil.copy(tmp_path / 'a' / 'iter_16.pth', part)
    options['train_dataloader.num_workers'] = 2
    toy_runner(part, resume=True, **options).train()
    assert_same_training_state(tmp_path / 'a', part)
    assert_same_training_state(part, uninterrupted)


@pytest.mark.parametrize('workers', [0, 2])
def test_iteration_based_training_resumes_exactly(tmp_path, toy_runner, workers):
    """With another number of worker processes too."""
    toy_runner(tmp_path / 'a', **ITERATIONS).train()
    part = tmp_path / 'b'
    part.mkdir()
    shutil.copy(tmp_path / 'a' / 'iter_16.pth', part)
    options = {**ITERATIONS, 'train_dataloader.num_workers': workers}
    toy_runner(part, resume=True, **options).train()
    assert_same_training_state(tmp_path / 'a', part)


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
def test_samplers_of_mmengine_resume_exactly_too(tmp_path, toy_runner, sampler):
    options = {**ITERATIONS, 'train_dataloader.sampler': dict(type=sampler, shuffle=True)}
    toy_runner(tmp_path / 'a', **options).train()
    part = tmp_path / 'b'
    part.mkdir()
    shutil.copy(tmp_path / 'a' / 'iter_16.pth', part)
    toy_runner(part, resume=True, **options).train()
    assert_same_training_state(tmp_path / 'a', part)


def test_gradients_being_accumulated_are_restored(tmp_path, toy_runner):
    options = {
        **ITERATIONS,
        'optim_wrapper.accumulative_counts': 3,
        'default_hooks.checkpoint.interval': 7,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
    }
    toy_runner(tmp_path / 'a', **options).train()
    part = tmp_path / 'b'
    part.mkdir()
    shutil.copy(tmp_path / 'a' / 'iter_14.pth', part)
    assert load_checkpoint_file(part / 'iter_14.pth')['gradients']
    toy_runner(part, resume=True, **options).train()
    assert_same_training_state(tmp_path / 'a', part)


def test_the_drawn_seed_is_resumed(tmp_path, toy_runner):
    """Without a seed in the config one is drawn; the order of the data depends on it."""
    options = {**ITERATIONS, 'randomness.seed': None}
    toy_runner(tmp_path / 'a', **options).train()
    part = tmp_path / 'b'
    part.mkdir()
    shutil.copy(tmp_path / 'a' / 'iter_16.pth', part)
    toy_runner(part, resume=True, **options).train()
    assert_same_training_state(tmp_path / 'a', part)


def test_a_moved_work_directory_resumes_and_keeps_one_best(tmp_path, toy_runner, uninterrupted):
    runner = toy_runner(tmp_path / 'a')
    runner.register_hook(_Interrupt(15))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    (tmp_path / 'a').rename(tmp_path / 'moved')
    toy_runner(tmp_path / 'moved', resume=True).train()
    assert_same_training_state(tmp_path / 'moved', uninterrupted)
    assert not (tmp_path / 'a').exists()
    assert len(list((tmp_path / 'moved').glob('best_*.pth'))) == 1


def test_a_validation_cut_short_is_done_again(tmp_path, toy_runner):
    """Killed between the checkpoint of an epoch and its validation."""
    toy_runner(tmp_path / 'a', **{'train_cfg.max_epochs': 2}).train()
    checkpoint = load_checkpoint_file(tmp_path / 'a' / 'epoch_2.pth')
    assert checkpoint['message_hub']['runtime_info']['latest_validation'] == 12
    checkpoint['message_hub']['runtime_info']['latest_validation'] = 6
    torch.save(checkpoint, tmp_path / 'a' / 'epoch_2.pth')
    runner = toy_runner(tmp_path / 'a', resume=True, **{'train_cfg.max_epochs': 2})
    runner.train()
    assert runner.message_hub.get_info('latest_validation') == 12
    assert 'val/toy/mAP' in runner.message_hub.log_scalars


def test_resuming_a_finished_run_changes_nothing(tmp_path, toy_runner, uninterrupted):
    work_dir = tmp_path / 'run'
    shutil.copytree(uninterrupted, work_dir)
    toy_runner(work_dir, resume=True).train()
    assert_same_training_state(work_dir, uninterrupted)


def test_resume_from_a_given_file_and_refusal_of_bare_weights(tmp_path, toy_runner, uninterrupted):
    runner = toy_runner(tmp_path, resume=True, load_from=str(uninterrupted / 'epoch_2.pth'))
    runner.train()
    assert_same_training_state(tmp_path, uninterrupted)
    best = next(uninterrupted.glob('best_*.pth'))
    with pytest.raises(CheckpointError, match='load_from='):
        toy_runner(tmp_path / 'b', resume=True, load_from=str(best)).train()


def test_the_best_of_another_run_stays_where_it_is(tmp_path, toy_runner):
    toy_runner(tmp_path / 'a').train()
    before = sorted(p.name for p in (tmp_path / 'a').glob('*.pth'))
    path = tmp_path / 'a' / 'epoch_2.pth'
    # A longer run at a high rate surely finds a better one.
    options = {'train_cfg.max_epochs': 6, 'optim_wrapper.optimizer.lr': 0.05}
    runner = toy_runner(tmp_path / 'b', resume=True, load_from=str(path), **options)
    runner.train()
    assert (tmp_path / 'b') in Path(runner.message_hub.get_info('best_ckpt')).parents
    assert sorted(p.name for p in (tmp_path / 'a').glob('*.pth')) == before


def test_weights_to_begin_with(tmp_path, toy_runner):
    toy_runner(tmp_path / 'a', **{'train_cfg.max_epochs': 1}).train()
    options = {'load_from': str(tmp_path / 'a' / 'epoch_1.pth'), 'custom_hooks': None}
    runner = toy_runner(tmp_path / 'b', **options)
    runner.model.layers[4] = torch.nn.Linear(16, 2)
    runner.load_or_resume()
    text = next((tmp_path / 'b').glob('*/*.log')).read_text()
    assert '4 of 6 tensors loaded; 2 start afresh: 2 have another shape there (layers.4' in text


def test_another_batch_size_goes_on_at_the_same_sample(tmp_path, toy_runner):
    toy_runner(tmp_path, **ITERATIONS).train()
    for path in tmp_path.glob('*.pth'):
        if path.name != 'iter_16.pth':
            path.unlink()
    runner = toy_runner(tmp_path, resume=True, **{**ITERATIONS, 'train_dataloader.batch_size': 8})
    seen = []
    runner.register_hook(_Recorder(seen))
    runner.train()
    sampler = runner.train_dataloader.sampler
    order = iter(type(sampler)(sampler.dataset, seed=3))
    expected = [int(next(order)) + 1000 for _ in range(16 * 4 + 16)][16 * 4 :]
    assert seen == expected


def test_dropout_differs_between_steps(tmp_path, toy_runner):
    """The generator is keyed by the step, not merely reset."""
    runner = toy_runner(tmp_path, **ITERATIONS)
    draws = []

    class Draw(_Recorder):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            draws.append(torch.rand(1).item())

    runner.register_hook(Draw([]))
    runner.train()
    assert len(set(draws)) == 18


def test_averaged_weights_are_in_the_state_dict(uninterrupted):
    state = final_state(uninterrupted)
    raw = {k[len('module.') :]: v for k, v in state['ema_state_dict'].items() if 'module.' in k}
    assert weight_differences(state['state_dict'], raw)


class _Interrupt(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


class _Recorder(Hook):
    def __init__(self, seen: list) -> None:
        self.seen = seen

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen += [s.img_id for s in data_batch['data_samples']]
