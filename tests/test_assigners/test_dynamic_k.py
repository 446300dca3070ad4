"""Dynamic-k matching: what decides, and what it does not depend on."""

import pytest
import torch

from registry_losses.assigners import DynamicSoftLabelAssigner, OTAAssigner, SimOTAAssigner
from registry_losses.assigners.matching import dynamic_k as core
from registry_losses.assigners.matching.dynamic_k import _Matching
from registry_losses.structures import GroundTruth, Predictions
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes


def test_every_way_to_decide_is_taken(monkeypatch):
    """Near pairs decide most gts; whole rows and whole columns the rest."""
    calls = dict(rows=0, columns=0)
    for name in calls:
        plain = getattr(core.PairTerms, name)

        def counted(self, *args, name=name, plain=plain):
            calls[name] += 1
            return plain(self, *args)

        monkeypatch.setattr(core.PairTerms, name, counted)
    for seed in range(8):
        priors, gt, predictions = judge.scene('points', 3 * seed)
        # Tiny gts, twice each, with no prior of their own.
        tiny = torch.tensor([[8.5, 8.5, 9, 9]]).repeat(3, 1) + torch.arange(3)[:, None] * 0.1
        gt = GroundTruth.from_lists(
            [torch.cat((gt.boxes[b][gt.valid[b]], tiny, tiny)) for b in range(2)],
            [torch.arange(int(gt.valid[b].sum()) + 6) % scenes.CLASSES for b in range(2)],
            gt.image_sizes,
        )
        for assigner, rule in (
            (SimOTAAssigner(), reference.simota),
            (DynamicSoftLabelAssigner(), reference.dynamic_soft_label),
        ):
            found = assigner(priors, gt, predictions)
            judge.agrees(found, [rule(image) for image in images_of(priors, gt, predictions)])
    assert calls['rows'] > 3 and calls['columns'] > 3


def test_saturated_scores_stay_finite():
    priors, gt, predictions = judge.scene('points', 6)
    for value in (0.0, 1.0):
        flat = Predictions(predictions.boxes, torch.full_like(predictions.scores, value))
        for assigner in (SimOTAAssigner(), DynamicSoftLabelAssigner(), OTAAssigner()):
            found = assigner(priors, gt, flat)
            assert found.num_pairs and torch.isfinite(found.quality).all()


@pytest.mark.parametrize('scale', [0.02, 1.0])
def test_a_neighbourhood_too_narrow_may_be_skipped(scale, monkeypatch):
    """Where to begin is a matter of cost: with low and with high scores the answer stays."""
    skipped = []
    plain = _Matching._too_narrow
    for seed in range(4):
        priors, gt = scenes.points(128), scenes.random_gt(seed, 2, size=128)
        found = scenes.random_predictions(seed, priors, 2)
        high = found.scores.repeat(1, 1, 30)  # over many classes the cost adds up
        predictions = Predictions(found.boxes, high * scale)
        answers = []
        for narrow in (plain, lambda *_: True, lambda *_: False):
            monkeypatch.setattr(_Matching, '_too_narrow', narrow)
            answers.append(DynamicSoftLabelAssigner()(priors, gt, predictions))
        assert scenes.pairs_of(answers[0]) == scenes.pairs_of(answers[1])
        assert scenes.pairs_of(answers[0]) == scenes.pairs_of(answers[2])

        def watched(self, near):
            skipped.append(plain(self, near))
            return skipped[-1]

        monkeypatch.setattr(_Matching, '_too_narrow', watched)
        DynamicSoftLabelAssigner()(priors, gt, predictions)
    assert any(skipped) == (scale == 1.0)
