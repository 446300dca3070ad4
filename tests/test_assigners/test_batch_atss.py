"""BatchATSSAssigner: what differs from ATSS, by hand."""

from registry_losses.assigners import ATSSAssigner, BatchATSSAssigner

from . import judge, scenes


def test_a_centre_may_lie_on_the_border():
    """The gt's nearest prior has its centre (12, 12) by 0.005 pixels inside."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(11.995, 0, 12.5, 24)]], 40)
    assert BatchATSSAssigner(topk=1)(priors, gt).prior.tolist() == [6]
    assert ATSSAssigner(topk=1)(priors, gt).num_pairs == 0


def test_a_contested_prior_goes_to_the_best_gt_of_the_image():
    """The first two gts claim prior 12, whose box the third overlaps most without a claim."""
    priors = judge.grid(8, size=40)  # prior 12: [16, 16, 24, 24]
    gt = scenes.gt_of([[(19, 19, 21, 21), (18.5, 19, 21, 21), (16, 16, 33, 24)]], 40)
    found = BatchATSSAssigner(topk=1)(priors, gt)
    assert found.prior.tolist() == [12, 13] and found.gt.tolist() == [2, 2]
    found = ATSSAssigner(topk=1)(priors, gt)
    assert found.prior.tolist() == [12, 13] and found.gt.tolist() == [1, 2]
