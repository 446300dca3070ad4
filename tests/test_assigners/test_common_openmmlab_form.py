"""OpenMMLab's form of the call: every assigner answers it as it does the batched call."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import (
    ATSSAssigner,
    MaxIoUAssigner,
)
from registry_losses.errors import PairingError, ShapeError
from registry_losses.ops import bbox_overlaps

from . import scenes
from .cases import ASSIGNERS


def one_image() -> tuple:
    """Five gts of one image, as a batch and as instances."""
    boxes = [(3, 2, 28, 27), (35, 5, 60, 20), (30, 33, 61, 60), (4, 40, 12, 52), (20, 20, 44, 40)]
    gt = scenes.gt_of([boxes])
    return gt, InstanceData(bboxes=gt.boxes[0], labels=gt.labels[0])


class Instances(SimpleNamespace):
    """Like InstanceData, which cannot hold priors with their grid."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)

    def clone(self) -> 'Instances':
        return Instances(**vars(self))


# These read logits in OpenMMLab's form, probabilities in ours.
LOGITS = {'DynamicSoftLabel': torch.logit, 'Hungarian': torch.log}
LOGITS['BatchDynamicSoftLabel'] = torch.logit
# These have arguments of their own in OpenMMLab's form; their own files test it.
OWN_FORM = ('CenterRegion', 'Region', 'TopkHungarian')
NAMES = [name for name in ASSIGNERS if name not in OWN_FORM]


@pytest.mark.parametrize('name', NAMES)
def test_assign_equals_the_batched_call(name):
    """On a grid, `.assign` answers what the call on a batch of one does."""
    assigner, priors = ASSIGNERS[name].assigner, scenes.yolo_anchors()
    gt, instances = one_image()
    predictions = scenes.random_predictions(0, priors, 1)
    if name == 'Hungarian':  # its default is a softmax's
        scores = predictions.scores / predictions.scores.sum(dim=-1, keepdim=True)
        predictions = type(predictions)(predictions.boxes, scores)
    scores = LOGITS.get(name, lambda probabilities: probabilities)(predictions.scores[0])
    pred = Instances(priors=priors, bboxes=predictions.boxes[0], scores=scores)
    extra = (list(priors.level_sizes),) if 'ATSS' in name or name == 'DDOD' else ()
    more = {'img_meta': {'img_shape': (64, 64)}} if name == 'Hungarian' else {}
    result = assigner.assign(pred, *extra, instances, **more)
    expected = assigner(priors, gt, predictions)
    assert result.num_gts == gt.max_gts == 5
    assert torch.equal(result.gt_inds, expected.gt_inds(gt)[0]) and (result.gt_inds > 0).any()
    positive = result.gt_inds > 0
    assert torch.equal(result.labels[positive], gt.labels[0, result.gt_inds[positive] - 1])
    assert (result.labels[~positive] == -1).all()
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    nothing = assigner.assign(pred, *extra, empty, **more)
    assert nothing.num_gts == 0 and (nothing.gt_inds == 0).all()


@pytest.mark.parametrize('name', ASSIGNERS)
@pytest.mark.parametrize('shape', [(0, 4), (0,)], ids=['(0, 4)', '(0,)'])
def test_an_image_without_gts(name, shape):
    """Nothing is positive or ignored, however the emptiness is written."""
    assigner, priors = ASSIGNERS[name].assigner, scenes.anchors()
    predictions = scenes.random_predictions(0, priors, 1)
    boxes, scores = predictions.boxes[0], predictions.scores[0]
    for labels in (torch.zeros(0), torch.zeros(0, dtype=torch.long)):
        gts = InstanceData(bboxes=torch.zeros(shape), labels=labels)
        meta = {'img_shape': (64, 64)}
        if name == 'TopkHungarian':
            result = assigner.assign(scores, boxes, gts.bboxes, labels, meta)
        elif name == 'Region':
            flags = torch.ones(priors.num_priors, dtype=torch.bool)
            pred = InstanceData(priors=priors.boxes, valid_flags=flags)
            sizes = [(level.height, level.width) for level in priors.levels]
            strides = [level.stride[0] for level in priors.levels]
            result = assigner.assign(pred, gts, meta, sizes, priors.level_sizes, 8, strides)
        else:
            pred = Instances(priors=priors, bboxes=boxes, scores=scores)
            extra = (priors.level_sizes,) if 'ATSS' in name or name == 'DDOD' else ()
            result = assigner.assign(pred, *extra, gts, img_meta=meta)
        assert result.num_gts == 0 and (result.gt_inds == 0).all(), result.gt_inds.unique()
        assert result.gt_inds.shape == (priors.num_priors,)
        assert result.labels is None or (result.labels < 1).all()


# Uniform's rule needs no grid in the form of the image-by-image call.
GRIDLESS = [
    name for name, case in ASSIGNERS.items() if name == 'Uniform' or not case.assigner.requires_grid
]


@pytest.mark.parametrize('name', [name for name in NAMES if name not in GRIDLESS])
def test_bare_boxes_where_the_grid_is_needed(name):
    assigner, (_, instances) = ASSIGNERS[name].assigner, one_image()
    priors = scenes.yolo_anchors()
    predictions = scenes.random_predictions(0, priors, 1)
    pred = InstanceData(
        priors=priors.boxes, bboxes=predictions.boxes[0], scores=predictions.scores[0]
    )
    kind = type(assigner).__name__
    with pytest.raises(PairingError, match=f'{kind} needs priors on a grid'):
        assigner.assign(pred, instances)


@pytest.mark.parametrize('name', [name for name in GRIDLESS if name in NAMES])
def test_bare_boxes_and_an_ignore_region(name):
    """Names, order and result as in OpenMMLab, with plain InstanceData."""
    assigner, (_, instances) = ASSIGNERS[name].assigner, one_image()
    priors = scenes.points()
    n = priors.num_priors
    bare = priors.boxes
    if assigner.priors_form == 'points':
        bare = torch.cat((priors.centers, priors.strides), dim=1)
    predictions = scenes.random_predictions(0, priors, 1)
    scores = LOGITS.get(name, lambda probabilities: probabilities)(predictions.scores[0])
    pred = InstanceData(priors=bare, bboxes=predictions.boxes[0], scores=scores)
    region = InstanceData(bboxes=torch.tensor([[0.0, 0, 64, 64]]))
    extra = (list(priors.level_sizes),) if 'ATSS' in name or name == 'DDOD' else ()
    more = {'img_meta': {'img_shape': (64, 64)}} if name == 'Hungarian' else {}
    if name != 'Hungarian':  # whose third argument is the image's meta there
        more['gt_instances_ignore'] = region
    result = assigner.assign(pred, *extra, gt_instances=instances, **more)
    assert result.num_gts == 5 and result.num_preds == n
    assert result.gt_inds.shape == result.labels.shape == (n,)
    assert result.gt_inds.dtype == result.labels.dtype == torch.long
    assert result.gt_inds.min() >= -1 and 0 < result.gt_inds.max() <= 5
    if result.max_overlaps is not None:
        assert result.max_overlaps.shape == ((5,) if name == 'Uniform' else (n,))
        assert result.max_overlaps.max() <= 1.0001


def test_result_serves_samplers():
    """What OpenMMLab's RandomSampler does with a result."""
    _, instances = one_image()
    result = MaxIoUAssigner(0.5, 0.4).assign(
        InstanceData(priors=scenes.anchors().boxes), instances, img_meta={}
    )
    n = result.num_preds
    result.add_gt_(instances.labels)
    assert result.num_preds == n + 5
    assert result.gt_inds[:5].tolist() == [1, 2, 3, 4, 5]
    assert result.max_overlaps[:5].eq(1).all() and torch.equal(result.labels[:5], instances.labels)
    result.set_extra_property('seen', 3)
    assert result.info['seen'] == result.get_extra_property('seen') == 3
    assert result.get_extra_property('other') is None


def test_ignore_instances_count_only_with_a_threshold():
    _, instances = one_image()
    pred = InstanceData(priors=scenes.anchors().boxes)
    region = InstanceData(bboxes=torch.tensor([[0.0, 0, 64, 64]]))
    plain = MaxIoUAssigner(0.5, 0.4).assign(pred, instances)
    default = MaxIoUAssigner(0.5, 0.4).assign(pred, instances, region)
    assert torch.equal(default.gt_inds, plain.gt_inds)
    first = MaxIoUAssigner(0.5, 0.4, ignore_iof_thr=0.3).assign(pred, instances, region)
    inside = bbox_overlaps(pred.priors, region.bboxes, mode='iof')[:, 0] > 0.3
    assert (first.gt_inds[inside] == -1).all() and (first.max_overlaps[inside] == -1).all()
    assert inside.any()


def test_atss_levels_must_add_up():
    _, instances = one_image()
    with pytest.raises(ShapeError, match='num_level_priors'):
        ATSSAssigner().assign(InstanceData(priors=torch.zeros(7, 4)), [3, 3], instances)
