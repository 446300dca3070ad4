"""Weights of single gts multiply their losses, on every head and assigner."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.errors import DataError, ShapeError
from registry_losses.heads import evaluate_terms
from registry_losses.registry import TRANSFORMS
from registry_losses.structures import DetDataSample, GroundTruth
from registry_losses.testing.pairings import (
    GRID_HEADS,
    HEADS,
    Subject,
    all_cells,
    build,
    change,
    head_config,
    places,
    rule_against,
)
from registry_losses.testing.pairings.gt_weights import gt_weight_problems

ASSIGNERS = ('own', 'SimOTAAssigner', 'TaskAlignedAssigner')


@pytest.mark.parametrize('assigner', ASSIGNERS)
# Of joints, the tags and limbs belong to persons, and Gaussian targets overlap their cells.
@pytest.mark.parametrize('head', [h for h in HEADS if h not in ('ae', 'openpose')])
def test_losses_are_linear_in_the_weights(head, assigner):
    """By the plain formula: positives of a gt count ``weight`` times, all else once."""
    config = head_config(head)
    if assigner != 'own':
        choices = places(head)['assigner'].choices()
        if assigner not in choices or rule_against(head, 'assigner', assigner):
            pytest.skip('refused for a rule of the design')
        change(config, head, 'assigner', choices[assigner])
    subject = Subject.of(build(config), GRID_HEADS[head].head)
    with torch.no_grad():
        inputs = subject.loss_inputs(subject.scenes.plain)
        terms = subject.head.loss_terms

        def losses(*weights):
            gt = inputs.gt
            row = torch.tensor(weights)[torch.arange(gt.max_gts) % len(weights)]
            gt = replace(gt, weights=row.expand(gt.batch_size, -1))
            return evaluate_terms(terms, replace(inputs, gt=gt, _cache={}))

        plain = evaluate_terms(terms, replace(inputs, _cache={}))
        none, one, two, some = losses(0.0), losses(1.0), losses(2.0), losses(2.0, 0.5)
    changed = 0
    for name, value in plain.items():
        assert torch.allclose(one[name], value, rtol=1e-5, atol=1e-6), name
        assert torch.allclose(two[name] - value, value - none[name], rtol=1e-3, atol=1e-4), name
        if 'bbox' in name or 'iou' in name:
            assert float(none[name]) == 0, name
        changed += not torch.allclose(some[name], value, rtol=1e-4)
    assert changed >= min(2, len(plain))


def test_samples_carry_weights():
    samples = []
    for count, weights in ((2, [0.5, 2.0]), (1, None)):
        sample = DetDataSample(metainfo=dict(img_shape=(32, 32), img_id=count))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[1.0, 1, 9, 9]]).repeat(count, 1),
            labels=torch.zeros(count, dtype=torch.long),
        )
        if weights:
            sample.gt_instances.weights = torch.tensor(weights)
        samples.append(sample)
    assert GroundTruth.from_data_samples(samples).weights.tolist() == [[0.5, 2], [1, 0]]
    assert GroundTruth.from_data_samples(samples[1:]).weights is None
    gt = GroundTruth.from_data_samples(samples)
    with pytest.raises(ShapeError, match=r'gt\.weights: expected'):
        replace(gt, weights=torch.ones(2, 3))
    with pytest.raises(DataError, match='image 0 of the batch: 1 boxes but 2 weights'):
        GroundTruth.from_lists(
            [torch.zeros(1, 4)], [torch.zeros(1)], [(9, 9)], weights=[torch.ones(2)]
        )


class Partners:
    """A data set whose other sample has no weights."""

    _metainfo: dict = {}

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return dict(results(weights=None), dataset=self)


def results(weights=(0.5, 3.0)):
    boxes = np.array([[4, 4, 20, 20], [30, 30, 60, 60]], np.float32)
    found = dict(
        img=np.zeros((64, 64, 3), np.uint8),
        img_shape=(64, 64),
        gt_bboxes=boxes,
        gt_bboxes_labels=np.array([0, 1]),
        gt_ignore_flags=np.zeros(2, bool),
        rng=np.random.default_rng(0),
        dataset=None,
    )
    if weights is not None:
        found['gt_weights'] = np.array(weights, np.float32)
    return found


@pytest.mark.parametrize(
    'node',
    [
        dict(type='RandomFlip', prob=1.0),
        dict(type='Resize', scale=(32, 32)),
        dict(type='LetterResize', scale=(96, 48)),
        dict(type='MinIoURandomCrop'),
        dict(type='Expand', prob=1.0),
        dict(type='RandomCenterCropPad', crop_size=(40, 40), border=8),
        dict(type='RandomAffine'),
        dict(type='Mosaic', img_scale=(64, 64), pre_transform=[lambda r: r]),
        dict(type='MixUp', img_scale=(64, 64), pre_transform=[lambda r: r]),
        dict(type='YOLOv5MixUp', pre_transform=[lambda r: r]),
    ],
    ids=lambda node: node['type'],
)
def test_weights_travel_with_their_boxes(node):
    """Label and weight of an object stay together, whatever is dropped or added."""
    transform, pack = TRANSFORMS.build(dict(node)), TRANSFORMS.build(dict(type='PackDetInputs'))
    for seed in range(8):
        sample = results()
        sample.update(rng=np.random.default_rng(seed), dataset=Partners())
        sample = transform.transform(sample)
        instances = pack.transform(sample)['data_samples'].gt_instances
        assert len(instances.weights) == len(instances.bboxes)
        allowed = {0: {0.5, 1.0}, 1: {3.0, 1.0}}
        for label, weight in zip(instances.labels.tolist(), instances.weights.tolist()):
            assert weight in allowed[label]


def test_weights_reach_the_losses_of_pairings_of_all_kinds():
    """Every sixtieth cell of the grid: another head, assigner, sampler or loss."""
    cells = [cell for cell in all_cells() if rule_against(*cell) is None]
    wrong = {}
    for cell in cells[::60]:
        config = head_config(cell.head)
        change(config, cell.head, cell.place, places(cell.head)[cell.place].choices()[cell.part])
        subject = Subject.of(build(config), GRID_HEADS[cell.head].head)
        found = subject.loss_inputs(subject.scenes.plain)
        problems = gt_weight_problems(subject.head.loss_terms, found)
        if problems:
            wrong[cell] = problems
    assert not wrong
