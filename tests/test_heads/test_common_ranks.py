"""W ranks learn what one process learns from the batches of all of them."""

import pytest
import torch

from registry_losses.heads.terms import evaluation
from registry_losses.heads.terms.assigning import integer_ids
from registry_losses.losses import CrossEntropyLoss, MSELoss
from registry_losses.structures import LossTerm
from registry_losses.testing.ranks import (
    CASES,
    HUNDREDS,
    MANY,
    POSE_HEADS,
    SCENES,
    _distance,
    rank_differences,
)

ROUNDING = 5e-5
HARDEST = ('objects on one rank', 'only ignore regions on a rank', 'an image less on a rank')
# Of the scenes after the first, heads that count positives, weights, levels and regions.
OF_EACH_KIND = ('retinanet', 'fcos', 'yolov5', 'roi')


def term(normalizer: str, loss=None, **fields) -> LossTerm:
    loss = loss or CrossEntropyLoss(use_sigmoid=True)
    return LossTerm('loss_x', loss, 'classification', 'cls', normalizer=normalizer, **fields)


@pytest.mark.parametrize(
    ('stated', 'total', 'share'),
    [
        (term('positives'), 6.0, 1.5),
        (term('positives'), 0.0, 0.25),  # one process would divide by its clamp, 1
        (term('weight_sum', clamp=1e-6), 0.2, 0.05),
        (term('none'), 4.0, 0.25),
        (term('rank_sum'), 4.0, 1.0),
        (term('positives', MSELoss(reduction='sum')), 6.0, 0.25),
        (term('level_mean'), [8.0, 0.0], [2.0, 0.25]),
    ],
)
def test_what_a_rank_of_four_divides_by(monkeypatch, stated, total, share):
    monkeypatch.setattr(evaluation.dist, 'get_world_size', lambda: 4)
    (found,) = evaluation.shares_of_ranks([stated], [torch.tensor(total)])
    assert found.tolist() == pytest.approx(share)


def test_an_image_has_the_same_key_in_every_process_and_batch():
    device = torch.device('cpu')
    assert integer_ids([7, 'a.png'], 2, device)[1] == integer_ids(['a.png'], 1, device)[0]
    assert integer_ids([7, 8], 2, device).tolist() == [7, 8]
    assert integer_ids(None, 2, device).tolist() == [0, 1]


def test_two_ranks_equal_one_process():
    cases = tuple(case for case in CASES if case not in POSE_HEADS)
    found = rank_differences(2, cases=cases, scenes=HARDEST[:1], start_method='fork')
    found |= rank_differences(2, cases=OF_EACH_KIND, scenes=HARDEST[1:], start_method='fork')
    for key, difference in found.items():
        assert difference < ROUNDING, key


def test_the_measure_sees_a_gradient_that_is_half_as_large():
    whole = {'a': torch.tensor([3.0, 4.0])}
    assert _distance({'a': whole['a'] / 2}, whole) == pytest.approx(0.5)
    assert _distance({}, whole) == float('inf')


@pytest.mark.slow
@pytest.mark.parametrize('ranks', [2, 4])
def test_more_ranks_and_batches_equal_one_process(ranks):
    scenes = (*SCENES, HUNDREDS)
    for key, difference in rank_differences(ranks, scenes=scenes).items():
        assert difference < ROUNDING, key


@pytest.mark.slow
def test_thousands_of_objects_on_one_rank():
    for key, difference in rank_differences(2, scenes=(MANY,)).items():
        assert difference < 10 * ROUNDING, key
