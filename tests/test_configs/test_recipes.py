"""Every config: its pipelines on small data, its training steps, its evaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from registry_losses.engine import ExpMomentumEMA, Runner
from registry_losses.evaluation.samples import annotations_of
from registry_losses.registry import DATASETS
from registry_losses.transforms import HSVJitter, MixUp, PhotoMetricDistortion, RandomAffine

from .small_data import (
    CONFIGS,
    assert_box_holds_its_colour,
    config_files,
    make_coco,
    make_voc,
    nodes,
    pointed_at,
)

# Recipes that are run by default, each with the small model of its system.
SMALL_MODELS = {
    'ssd/ssd300_vgg16_paper_voc.py': 'ssd_tiny',
    'centernet/centernet_r18_coco.py': 'centernet_tiny',
}
# These take over the pipelines of the config beside them.
DERIVED = ('_paper_', '_improved_')
# What changes colours; MixUp shows two images through each other, and its boxes are checked in
# test_transforms/test_mix.py.
COLOUR = (PhotoMetricDistortion, HSVJitter, MixUp)


def by_speed(files, quick):
    """Parameters of which all that are not ``quick`` are marked slow."""
    return [f if quick(f) else pytest.param(f, marks=pytest.mark.slow) for f in files]


PIPELINES = by_speed(config_files(digits=False), lambda f: not any(d in f for d in DERIVED))
DIGITS = by_speed(config_files(digits=True), lambda f: f.startswith(('retinanet', 'yolo/yolov1')))
RUNS = [
    *SMALL_MODELS.items(),
    *(pytest.param(f, None, marks=pytest.mark.slow) for f in config_files(digits=False)),
]


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """Where the small data lies, by the kind of data set."""
    folder = tmp_path_factory.mktemp('data')
    return dict(
        coco=make_coco(folder / 'coco'),
        voc=make_voc(folder / 'voc'),
        digits=folder / 'digits',
    )


def loader_of(node, *, seed):
    """The data loader as the runner builds it."""
    init_default_scope('registry_losses')
    return Runner.build_dataloader(node, seed=seed)


def root_of(file, roots):
    return roots[file.removesuffix('.py').rpartition('_')[2]]


def pipelines_of(dataset):
    """The pipelines inside wrappers."""
    if hasattr(dataset, 'datasets'):
        return [p for d in dataset.datasets for p in pipelines_of(d)]
    if hasattr(dataset, 'dataset'):
        return pipelines_of(dataset.dataset)
    return [dataset.pipeline]


@pytest.mark.parametrize('file', PIPELINES)
def test_the_training_pipeline_keeps_boxes_on_their_objects(file, roots):
    """Colours left alone, three batches: every box lies around the rectangle of its label."""
    cfg = pointed_at(file, root_of(file, roots))
    loader = loader_of(cfg.train_dataloader, seed=3)
    for pipeline in pipelines_of(loader.dataset):
        pipeline.transforms = [t for t in pipeline.transforms if not isinstance(t, COLOUR)]
        for transform in pipeline.transforms:
            if isinstance(transform, RandomAffine):  # a turned rectangle does not fill its box
                transform.max_rotate_degree = transform.max_shear_degree = 0.0
    looked_at, batches = 0, iter(loader)
    for _ in range(3):
        batch = next(batches)
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            height, width = image.shape[1:]
            assert sample.img_shape == (height, width)
            pixels = image.permute(1, 2, 0).numpy()
            for part in (sample.gt_instances, sample.ignored_instances):
                boxes, labels = part.bboxes.numpy(), part.labels.numpy()
                assert (boxes >= 0).all() and (boxes <= [width, height] * 2).all()
                assert (boxes[:, 2:] > boxes[:, :2]).all()
                for box, label in zip(boxes, labels):
                    looked_at += assert_box_holds_its_colour(pixels, box, label)
    assert looked_at >= 6


@pytest.mark.parametrize('file', PIPELINES)
def test_the_test_pipeline_can_be_undone(file, roots):
    """Boxes of the packed sample, taken back to the file, are those of the annotation."""
    cfg = pointed_at(file, root_of(file, roots))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        instances = dataset.get_data_info(index)['instances']
        back = annotations_of(sample)
        for key, flag in (('gt_bboxes', 0), ('ignored_bboxes', 1)):
            noted = [i['bbox'] for i in instances if i['ignore_flag'] == flag]
            np.testing.assert_allclose(back[key], np.reshape(noted, (-1, 4)), atol=0.02)


@pytest.mark.parametrize('file', DIGITS)
def test_a_batch_of_the_digits_configs(file, roots):
    cfg = pointed_at(file, roots['digits'], batch_size=4)
    for node in (cfg.train_dataloader, cfg.val_dataloader):
        batch = next(iter(loader_of(node, seed=0)))
        assert len(batch['inputs']) == 4
        assert {tuple(i.shape) for i in batch['inputs']} == {(3, 128, 128)}
        assert sum(len(s.gt_instances) for s in batch['data_samples']) > 0


@pytest.mark.parametrize('file', ['yolo/yolov5_s_coco.py', 'ssd/ssd300_vgg16_coco.py'])
def test_workers_change_nothing(file, roots):
    """Mosaic's partners and all random draws are keyed: two workers give the same batches."""
    found = []
    for workers in (0, 2):
        cfg = pointed_at(file, root_of(file, roots), workers=workers)
        batches = iter(loader_of(cfg.train_dataloader, seed=5))
        found.append([next(batches) for _ in range(3)])
    for alone, shared in zip(*found):
        for a, b in zip(alone['inputs'], shared['inputs']):
            assert torch.equal(a, b)
        for a, b in zip(alone['data_samples'], shared['data_samples']):
            assert torch.equal(a.gt_instances.bboxes, b.gt_instances.bboxes)


def short_run(file, roots, work_dir):
    """The config's own training, cut to a few steps (one update at least) and one validation."""
    cfg = pointed_at(file, root_of(file, roots))
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    for _, node in nodes(cfg.train_dataloader._to_lazy_dict()):
        assert 'data_root' not in node or str(root_of(file, roots)) in node['data_root']
    updates = cfg.optim_wrapper.get('accumulative_counts', 1)
    if cfg.train_cfg.type == 'IterBasedTrainLoop':
        steps = max(2, updates)
        cfg.train_cfg.update(max_iters=steps, val_interval=steps)
    else:
        cfg.train_cfg.update(max_epochs=1)
        dataset = cfg.train_dataloader.dataset
        while 'dataset' in dataset:
            dataset = dataset.dataset
        for part in dataset.get('datasets', [dataset])[:1]:
            part.indices = 4
        for part in dataset.get('datasets', [dataset])[1:]:
            part.indices = 1
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.indices = 2
    return cfg


@pytest.mark.parametrize(('file', 'small'), RUNS)
def test_two_steps_and_an_evaluation(file, small, roots, tmp_path):
    """As the config stands: its data, optimizer, schedule, hooks, evaluation, checkpoint."""
    before_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cfg = short_run(file, roots, tmp_path)
    if small:
        classes = cfg.model.bbox_head.num_classes
        cfg.model = Config.fromfile(CONFIGS / '_base_' / 'models' / f'{small}.py').model
        cfg.model.bbox_head.num_classes = classes
    runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    finally:
        torch.set_num_threads(before_threads)
    assert runner.iter >= 2
    history = runner.message_hub.log_scalars
    losses = history['train/loss'].data[0]
    assert len(losses) >= 2 and all(math.isfinite(v) and v > 0 for v in losses)
    key = 'pascal_voc/mAP' if file.endswith('_voc.py') else 'coco/bbox_mAP'
    score = history[f'val/{key}'].current()
    assert -1 <= score <= 1
    assert list(tmp_path.glob('*.pth'))


def test_the_average_of_yolov5_is_what_is_saved(roots, tmp_path):
    """Its config averages weights and statistics; the checkpoint holds the average."""
    cfg = short_run('yolo/yolov5_s_coco.py', roots, tmp_path)
    # A narrow model, for speed; the recipe is the config's.
    cfg.model.backbone.widen_factor = cfg.model.neck.widen_factor = 0.125
    cfg.model.bbox_head.in_channels = [32, 64, 128]
    cfg.default_hooks.checkpoint.interval = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    hook = next(h for h in runner.hooks if type(h).__name__ == 'EMAHook')
    assert isinstance(hook.ema_model, ExpMomentumEMA)
    saved = torch.load(next(tmp_path.glob('epoch_*.pth')), weights_only=True)
    assert -1 <= runner.message_hub.log_scalars['val/coco/bbox_mAP'].current() <= 1
    average = hook.ema_model.module.state_dict()
    current = runner.model.state_dict()
    moved = [n for n in current if not torch.equal(average[n], current[n])]
    assert any(n.endswith('weight') for n in moved)
    assert any(n.endswith('running_var') for n in moved)
    assert all(torch.equal(saved['state_dict'][n], average[n]) for n in average)
    assert all(torch.equal(saved['ema_state_dict'][f'module.{n}'], current[n]) for n in current)
