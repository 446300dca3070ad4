"""PAAAssigner: the mixture, values by hand, and other proposers."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from registry_losses.assigners import PAAAssigner
from registry_losses.assigners.paa import fit_mixtures
from registry_losses.registry import TASK_UTILS
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


@pytest.mark.parametrize('topk', [2, 9])
def test_the_second_step(topk):
    """Against the reference, with losses of two sorts."""
    assigner = PAAAssigner(topk)
    for kind in judge.kinds_for(assigner):
        for seed in range(3):
            priors, gt, _ = judge.scene(kind, seed)
            first = assigner(priors, gt)
            g = torch.Generator().manual_seed(seed)
            loss = torch.rand(first.num_pairs, generator=g) * 3
            loss += torch.rand(first.num_pairs, generator=g) > 0.5
            found = scenes.pairs_of(assigner.refine(first, priors, gt, loss))
            level = priors.level_ids[first.prior].tolist()
            pairs, losses = scenes.pairs_of(first), loss.tolist()
            for b in range(gt.batch_size):
                at = [i for i, pair in enumerate(pairs) if pair[0] == b]
                own = [[values[i] for i in at] for values in (pairs, losses, level)]
                expected = reference.paa([pair[1:] for pair in own[0]], own[1], own[2], topk)
                assert [pair[1:] for pair in found if pair[0] == b] == expected


def test_mixtures_equal_scikit_learn():
    g = torch.Generator().manual_seed(0)
    rows = [
        torch.sort(torch.randn(n, generator=g).double() + (torch.arange(n) % 3 == 0) * 4).values
        for n in (2, 7, 30, 45)
    ]
    mask = torch.arange(45) < torch.tensor([len(r) for r in rows])[:, None]
    values = torch.zeros(4, 45, dtype=torch.float64)
    values[mask] = torch.cat(rows)
    fit = fit_mixtures(values, mask)
    for i, row in enumerate(rows):
        theirs = GaussianMixture(
            2,
            weights_init=[0.5, 0.5],
            means_init=row.numpy()[[0, -1], None],
            precisions_init=np.ones((2, 1)),
            covariance_type='diag',
        ).fit(row.numpy()[:, None])
        np.testing.assert_allclose(fit.weight[i], theirs.weights_, rtol=1e-6)
        np.testing.assert_allclose(fit.mean[i], theirs.means_[:, 0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fit.variance[i], theirs.covariances_[:, 0], rtol=1e-5)


def test_by_hand():
    """Losses in two heaps: the low one stays, up to its densest point."""
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(40, 40)])])
    gt = scenes.gt_of([[(10, 10, 50, 50)]])
    assigner = PAAAssigner(topk=20)
    first = assigner(priors, gt)
    loss = torch.full((first.num_pairs,), 9.0)
    loss[:5] = torch.tensor([1.3, 1.0, 1.1, 1.15, 1.2])
    found = assigner.refine(first, priors, gt, loss)
    assert set(first.prior[1:4].tolist()) <= set(found.prior.tolist())
    assert set(found.prior.tolist()) <= set(first.prior[:5].tolist()) - {int(first.prior[0])}
    nothing = assigner(priors, scenes.gt_of([[]]))
    assert assigner.refine(nothing, priors, scenes.gt_of([[]]), torch.zeros(0)).num_pairs == 0


def test_ignores_what_it_drops_in_a_region():
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(40, 40)])])
    gt = scenes.gt_of([[(10, 10, 50, 50)]], ignore=[[(0, 0, 64, 64)]])
    assigner = PAAAssigner()
    first = assigner(priors, gt)
    found = assigner.refine(first, priors, gt, torch.arange(first.num_pairs).float())
    assert 0 < found.num_pairs < first.num_pairs
    dropped = first.positive_mask() & ~found.positive_mask()
    assert found.ignored[dropped].all() and not found.ignored[found.positive_mask()].any()


def test_takes_any_proposer():
    assigner = TASK_UTILS.build(dict(type='PAAAssigner', candidates=dict(type='YOLOV1Assigner')))
    assert assigner.needs == {'pair_loss', 'predictions'} and assigner.requires_grid
