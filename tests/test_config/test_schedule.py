"""One value sets the length of a training; what depends on it follows."""

import re

import pytest
from mmengine.config import Config

from registry_losses.config import load_config
from registry_losses.config.schedule import Length, follow_length, misfits
from registry_losses.errors import ConfigError

DIGITS = 'registry_losses::retinanet/retinanet_tiny_digits.py'
COCO = 'registry_losses::retinanet/retinanet_r50_fpn_coco.py'


def test_our_schedules_follow_from_the_command_line():
    cfg = load_config(DIGITS, options={'train_cfg.max_iters': 200})
    warm, cosine = cfg.param_scheduler
    assert (warm.begin, warm.end) == (0, 20)
    assert (cosine.begin, cosine.end) == (20, 200)
    assert cfg.default_hooks.checkpoint.interval == 25
    cfg = load_config(COCO, options={'train_cfg.max_epochs': 24})
    assert cfg.param_scheduler[1].milestones == [16, 22]


def test_our_schedules_follow_a_derived_file(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text(f"_base_ = ['{DIGITS}']\ntrain_cfg = dict(max_iters=1000)\n")
    assert load_config(path).param_scheduler[1].end == 1000


def test_bases_compose(tmp_path):
    """The schedule of iterations with a runtime that was written for epochs, and the reverse."""
    path = tmp_path / 'c.py'
    bases = ['schedules/schedule_tiny.py', 'default_runtime.py']
    path.write_text(f'_base_ = {[f"registry_losses::_base_/{b}" for b in bases]}\n')
    cfg = load_config(path)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval) == (False, 500)
    assert (cfg.log_processor.by_epoch, cfg.default_hooks.logger.log_metric_by_epoch) == (0, 0)
    path.write_text(
        f"_base_ = ['{DIGITS}']\n"
        "train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=10)\n"
    )
    cfg = load_config(path)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval) == (True, 1)
    assert cfg.log_processor.by_epoch
    assert cfg.param_scheduler[1].end == 1.0, 'iterations of an epoch are known with the data'
    path.write_text(
        f"_base_ = ['{COCO}']\n"
        "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=9000)\n"
    )
    steps = load_config(path).param_scheduler[1]
    assert (steps.by_epoch, steps.milestones) == (False, [6000, 8250])


def test_whole_numbers_that_fitted_are_stretched_by_the_command_line(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text(
        'train_cfg = dict(by_epoch=True, max_epochs=12)\nparam_scheduler = [\n'
        "    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),\n"
        "    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11])]\n"
    )
    warm, steps = load_config(path, options={'train_cfg.max_epochs': 3}).param_scheduler
    assert (steps.end, steps.milestones) == (3, [2, 3])
    assert warm.end == 500, 'counted in another unit'
    kept = load_config(
        path, options={'train_cfg.max_epochs': 3, 'param_scheduler.1.milestones': [1]}
    )
    assert kept.param_scheduler[1].milestones == [1], 'what the command line says stands'


def test_explicit_intervals_are_kept():
    options = {'default_hooks.checkpoint.interval': 7}
    checkpoint = load_config(DIGITS, options=options).default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.by_epoch) == (7, False)


def test_an_interval_of_one_epoch_is_not_one_iteration():
    cfg = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=800, val_interval=400),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        )
    )
    (note,) = follow_length(cfg)
    assert 'saving every 100 iterations' in note
    assert cfg.default_hooks.checkpoint.interval == 100


ITERATIONS = Length(200, False)
EPOCHS = Length(3, True, epoch_length=10)


@pytest.mark.parametrize(
    ('node', 'length', 'message'),
    [
        (dict(type='LinearLR', by_epoch=False, begin=0, end=400), ITERATIONS, 'warms up for 400'),
        (dict(type='LinearLR', by_epoch=False, begin=0, end=500), EPOCHS, 'the training has 30'),
        (
            dict(type='CosineAnnealingLR', by_epoch=False, T_max=4000),
            ITERATIONS,
            'reaches its end at 4000',
        ),
        (
            dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=100),
            ITERATIONS,
            'reaches its end at 100',
        ),
        (dict(type='MultiStepLR', milestones=[2, 8]), EPOCHS, r'milestones \[8\] lie beyond the 3'),
        (dict(type='StepLR', by_epoch=False, step_size=200), ITERATIONS, 'it never steps'),
        (dict(type='OneCycleLR', by_epoch=False, total_steps=900), ITERATIONS, 'its end at 900'),
        (dict(type='CosineRestartLR', by_epoch=False, periods=[9]), ITERATIONS, 'its end at 9'),
        (dict(type='QuadraticWarmupLR', by_epoch=False, end=500), ITERATIONS, 'warms up for 500'),
        (dict(type='StepLR', by_epoch=False, begin=300, step_size=3), ITERATIONS, 'begins at 300'),
    ],
)
def test_misfits(node, length, message):
    (found,) = misfits([node], length)
    assert re.search(message, found)


@pytest.mark.parametrize(
    ('node', 'length'),
    [
        (dict(type='LinearLR', by_epoch=False, begin=0, end=20), ITERATIONS),
        (dict(type='CosineAnnealingLR', by_epoch=False, begin=20, T_max=180), ITERATIONS),
        (dict(type='MultiStepLR', milestones=[2]), EPOCHS),
        (dict(type='LinearLR', start_factor=1.0, end_factor=0.01, end=3), EPOCHS),
    ],
)
def test_what_fits_is_not_spoken_of(node, length):
    assert misfits(dict(node), length) == []


def test_a_scheduler_that_would_never_step_is_refused():
    with pytest.raises(ConfigError, match='total_steps=90 are fewer than the 200 iterations'):
        misfits([dict(type='OneCycleLR', by_epoch=False, total_steps=90)], ITERATIONS)
    with pytest.raises(ConfigError, match='start_factor: expected a share above 0, got 0'):
        misfits([dict(type='LinearLR', by_epoch=False, start_factor=0, end=9)], ITERATIONS)
    with pytest.raises(ConfigError, match=r'param_scheduler\[0\] .*never step.*by_epoch=False'):
        misfits([dict(type='MultiStepLR', milestones=[8, 11])], ITERATIONS)


@pytest.mark.parametrize(
    ('node', 'message'),
    [
        (dict(milestones=['x']), 'milestones: expected a list of whole numbers of at least 0'),
        (dict(milestones=3), 'milestones: expected a list'),
        (dict(milestones=[-1]), 'milestones: expected a list'),
        (dict(step_size=0), 'step_size: expected whole numbers of at least 1, or shares'),
        (dict(T_max=-3), 'T_max: expected'),
        (dict(begin='x'), 'begin: expected'),
        (dict(end=1.5), 'end: expected'),
        (dict(begin=3, end=2), 'begins at 3 and ends at 2; end has to be later'),
    ],
)
def test_times_that_are_none_are_refused(node, message):
    with pytest.raises(ConfigError, match=rf'param_scheduler\[0\] \(MultiStepLR\).*{message}'):
        misfits([dict(type='MultiStepLR', by_epoch=False, **node)], ITERATIONS)
