"""Where priors or gts tie: mmdet 3.3.0 and MMYOLO 0.6.0 on small scenes made for it."""

from types import SimpleNamespace

import torch

from registry_losses.assigners import BatchTaskAlignedAssigner, CenterNetAssigner, SimOTAAssigner
from registry_losses.structures import GroundTruth, Predictions

from . import golden

SIZE = (64, 64)


def cases(component: str):
    found = [both for both in golden.cases('Ties') if both[0]['component'] == component]
    assert found
    return found


def points(offset: float, strides=(8, 16, 32)):
    generator = golden.MlvlPointGenerator(list(strides), offset)
    return generator([(64 // s, 64 // s) for s in strides])


def gt_of(arrays: dict) -> GroundTruth:
    return GroundTruth.from_lists([arrays['in_gt_bboxes']], [arrays['in_gt_labels']], [SIZE])


def test_far_priors_of_one_cost():
    """A far prior costs 1e5, at which float32 tells costs apart by 0.008 only."""
    priors = points(0.0)
    for case, arrays in cases('SimOTAAssigner'):
        pred = SimpleNamespace(
            bboxes=arrays['in_pred_bboxes'], scores=arrays['in_pred_scores'], priors=priors
        )
        result = SimOTAAssigner(**case['kwargs']).assign(pred, *golden.instances(arrays))
        assert torch.equal(result.gt_inds, arrays['out_gt_inds'].long())


def test_priors_of_alignment_zero():
    """The reference fills a gt's k with arbitrary priors of alignment 0; ours does not."""
    priors = points(0.5)
    for case, arrays in cases('BatchTaskAlignedAssigner'):
        gt = gt_of(arrays)
        predictions = Predictions(arrays['in_pred_bboxes'][None], arrays['in_pred_scores'][None])
        found = BatchTaskAlignedAssigner(**case['kwargs'])(priors, gt, predictions)
        ours, theirs = found.positive_mask()[0], arrays['out_fg']
        assert int((ours & ~theirs).sum()) == 0
        assert int((theirs & ~ours).sum()) == 2
        assert (arrays['out_scores'][theirs] == 0).any()
        quality = torch.zeros_like(arrays['out_scores'])
        quality[found.prior] = found.quality
        torch.testing.assert_close(quality[ours], arrays['out_scores'][ours], rtol=1e-5, atol=1e-6)


def test_gts_whose_centres_share_a_cell():
    """The last of them sets size and offset; each counts where the classes differ."""
    priors = points(0.0, strides=(4,))
    for case, arrays in cases('CenterNetTargets'):
        gt = gt_of(arrays)
        found = CenterNetAssigner(min_overlap=0.3)(priors, gt)
        assert found.num_pairs > int(found.positive_mask().sum())
        last = found.one_gt_per_prior(gt, last=True)
        boxes = last.boxes_of(gt)
        size, offset = torch.zeros(2, 2, priors.num_priors)
        size[:, last.prior] = ((boxes[:, 2:] - boxes[:, :2]) / 4).t()
        centers = (boxes[:, 2:] + boxes[:, :2]) / 8
        offset[:, last.prior] = (centers - centers.floor()).t()
        torch.testing.assert_close(size, arrays['out_wh'].flatten(1))
        torch.testing.assert_close(offset, arrays['out_offset'].flatten(1), atol=1e-5, rtol=1e-4)
        positive = found.class_targets(gt, priors, 3).positive
        assert int(positive.sum()) == case['avg_factor']
