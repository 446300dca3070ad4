"""Third-party assigners of OpenMMLab's form inside our batches."""

from types import SimpleNamespace

import pytest
import torch

from registry_losses.assigners import (
    BaseAssigner,
    MaxIoUAssigner,
    WrappedAssigner,
    wrap_assigner,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import TASK_UTILS

from . import scenes


class TheirNearest:
    """A third party's assigner: each gt to the prior whose centre is nearest."""

    def __init__(self, ignore: int = 0) -> None:
        self.ignore = ignore
        self.calls: list[dict] = []

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None, img_meta=None):
        self.calls.append({'pred': pred_instances, 'meta': img_meta})
        boxes, own = pred_instances.priors, gt_instances.bboxes
        inds = torch.zeros(len(boxes), dtype=torch.long)
        inds[: self.ignore] = -1
        for i, box in enumerate(own):
            offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - (box[:2] + box[2:]) / 2
            inds[offset.square().sum(1).argmin()] = i + 1
        return SimpleNamespace(num_gts=len(own), gt_inds=inds, max_overlaps=None, labels=None)


def test_wrapped_third_party():
    """Batches with padding, invalid gts and priors, through a per-image assigner."""
    theirs = TheirNearest(ignore=2)
    wrapped = wrap_assigner(theirs, needs_predictions=False)
    assert isinstance(wrapped, BaseAssigner) and not wrapped.needs
    priors = scenes.points()
    valid = torch.ones(2, priors.num_priors, dtype=torch.bool)
    valid[0, :4] = False
    gt = scenes.gt_of([[(70, 3, 90, 9), (1, 1, 9, 9)], [(40, 40, 60, 60)]])
    found = wrapped(priors.with_valid(valid), gt)
    centers = priors.centers
    expected = []
    for b, g in ((0, 1), (1, 0)):
        distance = (centers - gt.points[b, g]).square().sum(1)
        expected.append((b, int(torch.where(valid[b], distance, torch.inf).argmin()), g))
    assert scenes.pairs_of(found) == expected
    assert found.ignored[0, :6].all() and found.ignored[1, :2].all()
    assert found.ignored.sum() == 8 and found.one_to_one
    assert len(theirs.calls) == 2 and theirs.calls[0]['meta'] == {'img_shape': (64, 64)}
    assert 'bboxes' not in theirs.calls[0]['pred']


def test_wrapped_gets_predictions_points_and_levels():
    class Theirs:
        def assign(self, pred_instances, num_level_priors, gt_instances, gt_instances_ignore):
            self.seen = (pred_instances, num_level_priors, gt_instances_ignore)
            return SimpleNamespace(gt_inds=torch.zeros(len(pred_instances), dtype=torch.long))

    priors, theirs = scenes.points(), Theirs()
    predictions = scenes.random_predictions(0, priors, 1)
    gt = scenes.gt_of([[(1, 1, 9, 9)]], ignore=[[(0, 0, 5, 5)]])
    found = wrap_assigner(theirs, points=True)(priors, gt, predictions)
    pred, levels, regions = theirs.seen
    assert levels == list(priors.level_sizes) == [64, 16, 4]
    assert torch.equal(pred.priors, torch.cat((priors.centers, priors.strides), dim=1))
    assert torch.equal(pred.scores, predictions.scores[0])
    assert regions.bboxes.tolist() == [[0.0, 0.0, 5.0, 5.0]]
    assert found.num_pairs == 0 and found.ignored.sum() == 1  # the prior at (4, 4)


def test_wrapped_by_config():
    """A registered third party, named in a config; ours round trips."""
    TASK_UTILS.register_module(name='TheirNearest', module=TheirNearest, force=True)
    built = TASK_UTILS.build(dict(type='WrappedAssigner', assigner=dict(type='TheirNearest')))
    assert isinstance(built, WrappedAssigner) and isinstance(built.assigner, TheirNearest)
    ours = MaxIoUAssigner(0.5, 0.4)
    assert wrap_assigner(ours) is ours
    with pytest.raises(ConfigError, match=r'\.assign'):
        wrap_assigner(object())


def test_ours_inside_their_form_inside_ours():
    """MaxIoUAssigner hidden behind `.assign` and wrapped again is itself."""
    ours = MaxIoUAssigner(0.5, 0.4)

    class Hidden:
        def assign(self, pred_instances, gt_instances, gt_instances_ignore=None):
            return ours.assign(pred_instances, gt_instances, gt_instances_ignore)

    priors, gt = scenes.anchors(), scenes.random_gt(4, batch=3)
    found, expected = wrap_assigner(Hidden(), needs_predictions=False)(priors, gt), ours(priors, gt)
    assert scenes.pairs_of(found) == scenes.pairs_of(expected) and found.num_pairs
    assert torch.equal(found.ignored, expected.ignored)
