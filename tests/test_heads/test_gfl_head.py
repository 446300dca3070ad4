"""GFL: distributions over bins, weights by the predicted score, values by hand."""

import math

import pytest
import torch

from registry_losses.coders import DistancePointBBoxCoder
from registry_losses.errors import ConfigError
from registry_losses.heads import LossInputs, evaluate_terms
from registry_losses.heads.initial import start_at_distance
from registry_losses.losses import CrossEntropyLoss, DistributionFocalLoss, GIoULoss
from registry_losses.registry import MODELS
from registry_losses.structures import Assignment, GroundTruth, HeadOutput, LossTerm, Priors

CODER = DistancePointBBoxCoder(normalize_by_stride=True, bins=5)


def test_a_distance_is_the_expectation_of_its_bins():
    raw = torch.zeros(1, 20)
    assert CODER.activate(raw).tolist() == [[2.0] * 4]  # uniform over 0 to 4
    raw[0, 3] = 50.0  # the left side certainly at 3
    assert CODER.activate(raw)[0].tolist() == pytest.approx([3, 2, 2, 2])
    box = CODER.decode(torch.tensor([[20.0, 20]]), torch.tensor([[3.0, 2, 2, 2]]), stride=4)
    assert box.tolist() == [[8, 12, 28, 28]]


@pytest.mark.parametrize('distance', [0.3, 1.6, 2.0, 3.9])
def test_biases_begin_at_a_distance(distance):
    bias = torch.empty(2, 5)
    start_at_distance(bias, distance)
    found = bias.softmax(dim=-1) @ torch.arange(5.0)
    assert found.tolist() == pytest.approx([distance] * 2, abs=1e-4)


def one_pair(logit: float) -> LossInputs:
    """One prior on one gt, every side of which is 1.5 strides away; uniform bins."""
    priors = Priors(torch.tensor([[16.0, 16, 24, 24]]), torch.full((1, 2), 4.0))
    gt = GroundTruth.from_lists(
        [torch.tensor([[14.0, 14, 26, 26]])], [torch.tensor([0])], [(64, 64)]
    )
    pair = torch.zeros(1, dtype=torch.long)
    assignment = Assignment(pair, pair, pair, torch.zeros(1, 1, dtype=torch.bool))
    output = HeadOutput.of({'cls': torch.full((1, 1, 2), logit), 'bbox': torch.zeros(1, 1, 20)})
    return LossInputs(output, priors, gt, assignment, CODER, 2)


@pytest.mark.parametrize('logit', [0.0, 2.0])
def test_a_positive_weighs_as_much_as_its_best_score(logit):
    score = 1 / (1 + math.exp(-logit))
    weighted = dict(branch='bbox', pair_weight='score')
    terms = [
        LossTerm('loss_dfl', DistributionFocalLoss(), 'distribution', **weighted),
        LossTerm('loss_bbox', GIoULoss(), 'box_decoded', **weighted),
    ]
    losses = evaluate_terms(terms, one_pair(logit))
    # Uniform over five bins: -log(1 / 5) on every side, their mean.
    assert losses['loss_dfl'].item() == pytest.approx(score * math.log(5), rel=1e-5)
    # The predicted box is 16 pixels wide, the gt 12, both around (20, 20).
    assert losses['loss_bbox'].item() == pytest.approx(score * (1 - 12**2 / 16**2), rel=1e-5)


def test_the_sum_of_weights_normalises_from_1_on():
    term = LossTerm(
        'loss_dfl',
        DistributionFocalLoss(),
        'distribution',
        branch='bbox',
        pair_weight='score',
        normalizer='weight_sum',
    )
    loss = evaluate_terms([term], one_pair(0.0))['loss_dfl']
    assert loss.item() == pytest.approx(0.5 * math.log(5), rel=1e-5)  # a weight of 0.5 counts as 1


def test_a_coder_of_other_bins_is_refused():
    node = dict(
        type='GFLHead',
        num_classes=2,
        in_channels=8,
        stacked_convs=0,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
        bbox_coder=DistancePointBBoxCoder(bins=9),
        loss_cls=CrossEntropyLoss(use_sigmoid=True),
        loss_bbox=GIoULoss(),
    )
    with pytest.raises(ConfigError, match=r'expected bins=17 \(reg_max \+ 1\), got 9'):
        MODELS.build(node)
    with pytest.raises(ConfigError, match='expected at least 2 and no activation'):
        DistancePointBBoxCoder(bins=1)
