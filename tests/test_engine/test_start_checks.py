"""What a run says, or refuses, before its first step; and the config it follows when resumed."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from registry_losses.engine import LogProcessor
from registry_losses.engine.start_checks import check_batches
from registry_losses.errors import ConfigError


@pytest.fixture
def warnings_of(monkeypatch):
    """A function that runs something and returns the warnings of the log."""

    def run(call):
        found = []
        handle = MMLogger.callHandlers

        def keep(self, record):
            if record.levelno >= logging.WARNING:
                found.append(record.getMessage())
            handle(self, record)

        monkeypatch.setattr(MMLogger, 'callHandlers', keep)
        call()
        return found

    return run


class Rates(Hook):
    """Notes the rate of every step."""

    def __init__(self):
        self.rates = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])


def rates(runner):
    hook = Rates()
    runner.register_hook(hook)
    runner.train()
    return hook.rates


@pytest.mark.parametrize('name', ['train_dataloader', 'val_dataloader'])
def test_a_loader_without_a_batch_is_refused(tmp_path, toy_runner, name):
    options = {f'{name}.batch_size': 64, f'{name}.drop_last': True}
    with pytest.raises(
        ConfigError, match=f'{name}: no batch in an epoch: 24 images, batch_size=64'
    ):
        toy_runner(tmp_path, **options).train()
    assert not list(tmp_path.glob('*.pth'))


def test_an_empty_data_set_is_refused(tmp_path, toy_runner):
    with pytest.raises(ConfigError, match='train_dataloader: the data set is empty'):
        sampler = dict(type='DefaultSampler', shuffle=False)
        options = {'train_dataloader.dataset.size': 0, 'train_dataloader.sampler': sampler}
        toy_runner(tmp_path, **options).train()


@pytest.mark.parametrize('name', ['mAP', 'toi/mAP', 'coco/bbox_mAP'])
def test_a_best_that_no_validation_yields_is_refused(tmp_path, toy_runner, name):
    runner = toy_runner(tmp_path, **{'default_hooks.checkpoint.save_best': name})
    with pytest.raises(ConfigError, match=r'save_best=.*there are toy/\.\.\.'):
        runner.train()


def test_a_best_without_validation_is_refused(tmp_path, toy_runner):
    runner = toy_runner(tmp_path, val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(ConfigError, match='never validates'):
        runner.train()


def test_names_of_our_own_metrics_are_known(tmp_path, toy_runner):
    options = {
        'val_evaluator': dict(type='CocoMetric'),
        'default_hooks.checkpoint.save_best': 'coco/mAP',
    }
    with pytest.raises(ConfigError, match='there are coco/bbox_mAP, coco/bbox_mAP_50'):
        toy_runner(tmp_path, **options).train()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'default_hooks.checkpoint': None}, 'saves nothing'),
        (
            {'default_hooks.checkpoint.interval': 9, 'default_hooks.checkpoint.save_last': False},
            'ends without writing a checkpoint, but the best',
        ),
        ({'custom_hooks': []}, 'without NonFiniteLossHook, ProgressHook, ReportHook'),
        (
            {'optim_wrapper.paramwise_cfg': dict(custom_keys={'layer.': dict(lr_mult=0.1)})},
            "custom_keys: 'layer.' is part of no parameter's name, so it changes nothing",
        ),
        (
            {'param_scheduler': [dict(type='LinearLR', by_epoch=False, end=500)]},
            'warms up for 500 iterations, and the training has 18',
        ),
    ],
)
def test_what_the_start_says(tmp_path, toy_runner, warnings_of, options, message):
    found = warnings_of(toy_runner(tmp_path, **options).train)
    assert any(message in text for text in found), found


def test_shares_of_iterations_in_epochs(tmp_path, toy_runner):
    cosine = dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=1.0, eta_min=0.0)
    found = rates(toy_runner(tmp_path, param_scheduler=[cosine]))
    assert len(found) == 18
    assert found[9] == pytest.approx(0.005), 'half way at half of 18 steps'


def cosine(epochs):
    node = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs, eta_min=0.0)
    return {'train_cfg.max_epochs': epochs, 'param_scheduler': [node]}


def test_a_resumed_run_follows_a_longer_schedule(tmp_path, toy_runner, warnings_of):
    whole = rates(toy_runner(tmp_path / 'whole', **cosine(4)))
    toy_runner(tmp_path / 'run', **cosine(2)).train()
    found = []
    texts = warnings_of(
        lambda: found.extend(rates(toy_runner(tmp_path / 'run', resume=True, **cosine(4))))
    )
    assert found == pytest.approx(whole[12:])
    assert any('param_scheduler[0].T_max 2 -> 4' in text for text in texts), texts


def test_a_resumed_run_follows_another_rate_and_decay(tmp_path, toy_runner, warnings_of):
    toy_runner(tmp_path, **{'train_cfg.max_epochs': 1}).train()
    options = {'optim_wrapper.optimizer.lr': 0.02, 'optim_wrapper.optimizer.weight_decay': 0.5}
    runner = toy_runner(tmp_path, resume=True, **options)
    found = []
    texts = warnings_of(lambda: found.extend(rates(runner)))
    assert found[0] == pytest.approx(0.02)
    assert runner.optim_wrapper.param_groups[0]['weight_decay'] == 0.5
    assert any('lr 0.01 -> 0.02' in t and 'weight_decay 0.01 -> 0.5' in t for t in texts), texts


def test_an_unchanged_schedule_is_not_spoken_of(tmp_path, toy_runner, warnings_of):
    toy_runner(tmp_path, **cosine(2)).train()
    texts = warnings_of(toy_runner(tmp_path, resume=True, **cosine(2)).train)
    assert not any('differs' in text for text in texts)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'log_level': 'LOUD'}, "log_level: KeyError: 'LOUD'"),
        ({'randomness.seed': -1}, 'randomness: ValueError: Seed must be'),
        ({'randomness': 3}, 'randomness: expected a dict'),
        ({'env_cfg.mp_cfg': dict(opencv_threads=0)}, r'env_cfg\.mp_cfg\.opencv_threads: no part'),
        ({'env_cfg.cudnn_benchmrk': True}, r'Nearest: cudnn_benchmark'),
        ({'visualizer': 3}, 'visualizer: expected|visualizer: TypeError'),
        ({'train_dataloader.batch_size': 0}, r'^train_dataloader\.batch_size: expected a whole'),
        ({'train_dataloader.num_workers': 'x'}, r'train_dataloader\.num_workers: expected a whole'),
        ({'train_dataloader.shuffle': True}, 'sampler option is mutually exclusive with shuffle'),
        ({'optim_wrapper.optimizer.lr': 'x'}, 'optim_wrapper: TypeError'),
        ({'optim_wrapper.accumulative_counts': 0}, 'optim_wrapper: AssertionError'),
        ({'auto_scale_lr': dict(enable=True, base_batch_size=0)}, 'auto_scale_lr: ZeroDivision'),
        ({'val_evaluator': dict(type='CocoMetric', max_dets=[0])}, 'max_dets: expected whole'),
        ({'val_evaluator': dict(type='CocoMetric', iou_thrs=[2])}, 'iou_thrs: expected numbers'),
        ({'load_from': 3}, 'load_from or resume: TypeError'),
    ],
)
def test_values_that_builders_stumble_over_name_their_section(
    tmp_path, toy_runner, options, message
):
    with pytest.raises(ConfigError, match=message):
        toy_runner(tmp_path, **options).train()


def test_a_metric_whose_file_is_missing_is_refused_before_training(tmp_path, toy_runner):
    options = {
        'val_evaluator': dict(type='CocoMetric', ann_file=str(tmp_path / 'none.json')),
        'default_hooks.checkpoint.save_best': None,
    }
    with pytest.raises(ConfigError, match=r'val_evaluator: ann_file: no such file .*none\.json'):
        toy_runner(tmp_path, **options).train()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg.val_interval': 0}, 'val_interval: expected a whole number of at least 1'),
        ({'train_cfg.val_begin': 'x'}, 'val_begin: expected a whole number'),
        ({'train_cfg.max_epochs': 0}, 'max_epochs: expected a whole number of at least 1, got 0'),
        ({'train_cfg.max_epochs': float('inf')}, 'max_epochs: expected a whole number'),
        ({'val_evaluator': None}, 'val_dataloader and val_cfg need val_evaluator: add what'),
        ({'optim_wrapper': None}, 'train_dataloader and train_cfg need optim_wrapper'),
        ({'default_hooks.checkpoint.interval': 'x'}, r'default_hooks\.checkpoint: TypeError'),
        ({'custom_hooks': [dict(type='EMAHook', momentum=5)]}, 'EMAHook: AssertionError: momentum'),
        (
            {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='toi/mAP', rule='less')]},
            r"EarlyStoppingHook\.monitor='toi/mAP': no validation yields it; there are toy/",
        ),
    ],
)
def test_lengths_hooks_and_sections_that_cannot_be(tmp_path, toy_runner, options, message):
    with pytest.raises(ConfigError, match=message):
        toy_runner(tmp_path, **options).train()


def test_checkpoints_elsewhere_are_resumed(tmp_path, toy_runner):
    """With ``out_dir`` they are not in the work directory; a resume began afresh without a word."""
    options = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'far')}
    toy_runner(tmp_path / 'run', **{**options, 'train_cfg.max_epochs': 1}).train()
    assert (tmp_path / 'far' / 'run' / 'epoch_1.pth').is_file()
    runner = toy_runner(tmp_path / 'run', resume=True, **options)
    assert len(rates(runner)) == 12


def test_a_pipeline_that_packs_nothing_is_refused():
    """Else the first batch fails in the collating of lists."""
    dataset = SimpleNamespace(pipeline=Compose([dict(type='LoadAnnotations')]))
    loader = SimpleNamespace(dataset=dataset)
    with pytest.raises(ConfigError, match=r'ends with LoadAnnotations.*PackDetInputs'):
        check_batches('train_dataloader', loader, endless=True)
    dataset.pipeline.transforms.append(lambda results: results)
    check_batches('train_dataloader', loader, endless=True)  # somebody else's may pack


@pytest.mark.parametrize('size', ['x', 0, True, 2.5])
def test_a_window_that_is_no_number_of_steps_is_refused(size):
    with pytest.raises(ConfigError, match=r'log_processor\.window_size.*1 or more'):
        LogProcessor(size)
