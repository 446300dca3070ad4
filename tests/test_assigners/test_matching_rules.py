"""Centre rules and matching assigners against naive forms, and what else they promise."""

import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from registry_losses.assigners import (
    BBoxL1Cost,
    CenterNetAssigner,
    ClassificationCost,
    DynamicSoftLabelAssigner,
    FCOSAssigner,
    FocalLossCost,
    GaussianAssigner,
    HungarianAssigner,
    IoUCost,
    MaxIoUAssigner,
    OTAAssigner,
    PAAAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from registry_losses.assigners.candidates.predicted_overlaps import overlapping_blocks
from registry_losses.assigners.fcos import regress_ranges_of
from registry_losses.assigners.matching import dynamic_k as core
from registry_losses.assigners.matching.costs import MatchInputs
from registry_losses.assigners.paa import fit_mixtures
from registry_losses.assigners.task_aligned import power
from registry_losses.errors import ConfigError
from registry_losses.ops import bbox_overlaps, gaussian_radius
from registry_losses.registry import TASK_UTILS
from registry_losses.structures import GroundTruth, Level, Predictions, Priors

from . import matching_oracles as oracles
from . import scenes

KINDS = [scenes.anchors, scenes.points, scenes.yolo_anchors, lambda: scenes.proposals(2)]
GRIDS = KINDS[:3]
seeds = st.integers(0, 2**32)
examples = settings(max_examples=25, deadline=None)


def some_valid(priors: Priors, seed: int) -> Priors:
    """In two of three cases, with some priors left out."""
    chance = (1.0, 0.9, 0.3)[seed % 3]
    if chance == 1:
        return priors
    g = torch.Generator().manual_seed(seed)
    return priors.with_valid(torch.rand(2, priors.num_priors, generator=g) < chance)


def scene(kind, seed: int) -> tuple[Priors, GroundTruth, Predictions]:
    priors = some_valid(kind(), seed)
    gt = scenes.random_gt(seed, batch=2)
    return priors, gt, scenes.random_predictions(seed, priors, 2)


# --- FCOS ----------------------------------------------------------------------------


@examples
@given(seeds, st.sampled_from(KINDS), st.sampled_from([None, 0.5, 1.5]))
def test_fcos(seed, kind, radius):
    priors, gt, _ = scene(kind, seed)
    found = FCOSAssigner(center_sampling=radius is not None, center_sample_radius=radius or 1)
    assert scenes.pairs_of(found(priors, gt)) == oracles.fcos(priors, gt, radius)


def test_fcos_by_hand():
    """Levels of stride 8 and 16: boxes up to 128 long stand on the first."""
    priors = scenes.points(160)
    gt = scenes.gt_of([[(0, 0, 24, 16), (2, 2, 14, 14), (0, 0, 158, 158)]], 160)
    found = FCOSAssigner()(priors, gt)
    # Centres at 4, 12, 20: six in the first box; the second, smaller, takes two by two.
    first = [p for p, g in zip(found.prior.tolist(), found.gt.tolist()) if g < 2]
    assert first == [0, 1, 2, 20, 21, 22]
    assert found.gt[:3].tolist() == [1, 1, 0]
    large = found.prior[found.gt == 2]
    reach = (priors.centers[large] - 79).abs().amax(dim=1) + 79
    assert ((reach > 64) & (reach <= 128)).any() and priors.level_ids[large].min() == 1


def test_fcos_matches_boxes_of_any_area():
    level = Level(40, 40, (1000.0, 1000.0), ((1000.0, 1000.0),))
    priors = scenes.grid_priors([level])
    gt = scenes.gt_of([[(0, 0, 30000, 30000)]], 40000)
    assert FCOSAssigner()(priors, gt).num_pairs == 900


def test_fcos_options():
    priors, gt = scenes.points(), scenes.gt_of([[(8, 8, 40, 40)]])
    with pytest.raises(ConfigError, match='one range for each of the 3 levels'):
        FCOSAssigner([(-1, 64), (64, 1e8)])(priors, gt)
    with pytest.raises(ConfigError, match='center_sample_radius'):
        FCOSAssigner(center_sample_radius=0)
    assert regress_ranges_of(scenes.points().levels) == ((-1, 64), (64, 128), (128, math.inf))
    assert regress_ranges_of(()) == ((-1, math.inf),)


# --- Heatmaps ------------------------------------------------------------------------


def _center_shape(rule: str):
    def shape(level, i, s, g):
        box = s.boxes[g]
        w, h = (box[2:] - box[:2]).tolist()
        if rule == 'scale' and i != sum(max(w, h) / 2 > end for end in s.ends[:-1]):
            return None
        cell = [
            int(min(max(math.floor(p / step), 0), count - 1))
            for p, step, count in zip(
                s.points[g].tolist(), level.stride, (level.width, level.height)
            )
        ]
        size = torch.tensor([h / level.stride[1], w / level.stride[0]])
        radius = int(gaussian_radius(size[0], size[1], 0.3))
        return cell, cell, radius, (2 * radius + 1) / 6, True

    return shape


@examples
@given(seeds, st.sampled_from(GRIDS), st.sampled_from(['scale', 'all']))
def test_centernet(seed, kind, rule):
    priors, gt, _ = scene(kind, seed)
    oracles.Scene.ends = [high for _, high in regress_ranges_of(priors.levels)]
    heat, pairs = oracles.bumps(priors, gt, scenes.CLASSES, _center_shape(rule))
    found = CenterNetAssigner(0.3, rule)(priors, gt)
    assert scenes.pairs_of(found) == sorted(pairs)
    _check_soft(found)
    dense = found.dense_soft(gt, priors, scenes.CLASSES)
    np.testing.assert_allclose(dense.numpy(), heat, atol=1e-5)


def _joint_shape(sigma: float, unbiased: bool):
    def shape(level, i, s, g):
        counts = (level.width, level.height)
        point = s.points[g].numpy()
        exact = [float(p / F(t) - F(level.offset)) for p, t in zip(point, level.stride)]
        nearest = [math.floor(F(e) + F(0.5)) for e in exact]
        clamped = [min(max(c, 0), n - 1) for c, n in zip(nearest, counts)]
        height, width = s.size.tolist()
        inside = 0 <= point[0] <= width and 0 <= point[1] <= height
        cell = clamped if inside else nearest
        positive = inside or clamped == nearest
        return cell, exact if unbiased else cell, int(3 * sigma), sigma, positive

    return shape


F = np.float32


@examples
@given(seeds, st.sampled_from(GRIDS), st.sampled_from([0.7, 1.0, 2.0]), st.booleans())
def test_gaussian(seed, kind, sigma, unbiased):
    priors, gt, _ = scene(kind, seed)
    heat, pairs = oracles.bumps(priors, gt, scenes.CLASSES, _joint_shape(sigma, unbiased))
    found = GaussianAssigner(sigma, unbiased)(priors, gt)
    assert scenes.pairs_of(found) == sorted(pairs)
    _check_soft(found)
    dense = found.dense_soft(gt, priors, scenes.CLASSES).numpy()
    np.testing.assert_allclose(dense, heat, atol=1e-5)


def _check_soft(found) -> None:
    """Each (image, prior, class) once, values within (0, 1)."""
    soft = found.soft
    keys = list(zip(soft.image.tolist(), soft.prior.tolist(), soft.label.tolist()))
    assert len(set(keys)) == len(keys)
    assert ((soft.value > 0) & (soft.value < 1)).all()


def test_several_gts_of_one_cell():
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(8, 8)])])
    gt = scenes.gt_of([[(10, 10, 20, 20), (4, 4, 26, 26), (11, 11, 20, 20)]])
    gt = replace(gt, labels=torch.tensor([[0, 0, 1]]))
    found = CenterNetAssigner()(priors, gt)
    assert found.prior.tolist() == [9, 9, 9]
    targets = found.class_targets(gt, priors, 2)
    assert int(targets.positive.sum()) == 2  # two classes
    assert found.one_gt_per_prior(gt).gt.tolist() == [2]  # the smallest box


def test_centres_on_the_border_and_beyond():
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(8, 8)])])
    boxes = [(54, 54, 74, 74), (60, 20, 90, 24), (-40, 60, 4, 63)]  # centres (64, 64), x 75, x -18
    found = CenterNetAssigner()(priors, scenes.gt_of([boxes]))
    assert found.prior.tolist() == [23, 56, 63]
    outside = GaussianAssigner(1.0)(priors, scenes.gt_of([boxes]))
    assert outside.gt.tolist() == [0]  # no positive for points off the map
    assert set(outside.soft.label.tolist()) == {0, 1, 2}  # but their bumps reach into it


def test_heatmap_options():
    for build in (
        lambda: CenterNetAssigner(min_overlap=1.0),
        lambda: CenterNetAssigner(level_rule='both'),
        lambda: GaussianAssigner(sigma=0),
    ):
        with pytest.raises(ConfigError):
            build()


# --- SimOTA, DynamicSoftLabel --------------------------------------------------------

COST_RULES = {
    'simota': (SimOTAAssigner(), lambda s: oracles.simota_cost(s, 2.5), 10),
    'soft': (DynamicSoftLabelAssigner(), lambda s: oracles.soft_label_cost(s, 3.0), 13),
    'wide': (SimOTAAssigner(0.6, 3), lambda s: oracles.simota_cost(s, 0.6), 3),
}


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(KINDS), st.sampled_from(sorted(COST_RULES)))
def test_dynamic_k(seed, kind, rule):
    priors, gt, predictions = scene(kind, seed)
    assigner, price, topk = COST_RULES[rule]
    found = assigner(priors, gt, predictions)
    assert scenes.pairs_of(found) == oracles.dynamic_k(priors, gt, predictions, price, topk)


def test_every_way_to_decide_is_taken(monkeypatch):
    """Near pairs decide most gts; whole rows and whole columns the rest."""
    calls = dict(rows=0, columns=0)
    for name in calls:
        plain = getattr(core.PairTerms, name)

        def counted(self, *args, name=name, plain=plain):
            calls[name] += 1
            return plain(self, *args)

        monkeypatch.setattr(core.PairTerms, name, counted)
    for seed in range(12):
        priors, gt, predictions = scene(scenes.points, 3 * seed)
        # Tiny gts, twice each, with no prior of their own.
        tiny = torch.tensor([[8.5, 8.5, 9, 9]]).repeat(3, 1) + torch.arange(3)[:, None] * 0.1
        gt = GroundTruth.from_lists(
            [torch.cat((gt.boxes[b][gt.valid[b]], tiny, tiny)) for b in range(2)],
            [torch.arange(int(gt.valid[b].sum()) + 6) % scenes.CLASSES for b in range(2)],
            gt.image_sizes,
        )
        for rule in ('simota', 'soft'):
            assigner, price, topk = COST_RULES[rule]
            expected = oracles.dynamic_k(priors, gt, predictions, price, topk)
            assert scenes.pairs_of(assigner(priors, gt, predictions)) == expected
    assert calls['rows'] > 5 and calls['columns'] > 5


def test_cost_matching_quality():
    priors, gt, predictions = scene(scenes.points, 3)
    soft = SimOTAAssigner()(priors, gt, predictions)
    iou = bbox_overlaps(
        predictions.boxes[soft.image, soft.prior], soft.boxes_of(gt), is_aligned=True
    )
    assert soft.num_pairs and torch.equal(soft.quality, iou.clamp(min=1e-7))
    hard = SimOTAAssigner(quality='one')(priors, gt, predictions)
    assert scenes.pairs_of(hard) == scenes.pairs_of(soft) and (hard.quality == 1).all()
    with pytest.raises(ConfigError, match='quality'):
        SimOTAAssigner(quality='two')
    with pytest.raises(ConfigError, match='>= 1'):
        DynamicSoftLabelAssigner(topk=0)


def test_saturated_scores_stay_finite():
    priors, gt, predictions = scene(scenes.points, 6)
    for value in (0.0, 1.0):
        flat = Predictions(predictions.boxes, torch.full_like(predictions.scores, value))
        for assigner in (SimOTAAssigner(), DynamicSoftLabelAssigner(), OTAAssigner()):
            found = assigner(priors, gt, flat)
            assert found.num_pairs and torch.isfinite(found.quality).all()


# --- TaskAligned ---------------------------------------------------------------------


@examples
@given(seeds, st.sampled_from(KINDS), st.booleans(), st.sampled_from([3, 13]))
def test_task_aligned(seed, kind, inside_first, topk):
    priors, gt, predictions = scene(kind, seed)
    found = TaskAlignedAssigner(topk, inside_first=inside_first)(priors, gt, predictions)
    expected = oracles.task_aligned(priors, gt, predictions, topk, inside_first=inside_first)
    assert scenes.pairs_of(found) == sorted(expected)
    wanted = torch.tensor([expected[pair] for pair in sorted(expected)]).clamp(min=1e-7)
    torch.testing.assert_close(found.quality, wanted.float(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(('exponent', 'scale'), [(1, 1.0), (8, 1.0), (1, 1e-6)])
def test_task_aligned_leaves_out_only_what_cannot_win(exponent, scale):
    """Enough runs of priors a gt that most are dropped by their bound, unseen scores and all."""
    for seed in range(3):
        priors, gt = scenes.points(256), scenes.random_gt(seed, 2, size=256)
        found = scenes.random_predictions(seed, priors, 2)
        predictions = Predictions(found.boxes, found.scores.pow(exponent) * scale)
        pairs = TaskAlignedAssigner(topk=5)(priors, gt, predictions)
        expected = oracles.task_aligned(priors, gt, predictions, 5, inside_first=False)
        assert scenes.pairs_of(pairs) == sorted(expected)


def test_power():
    x = torch.rand(7, dtype=torch.float64)
    for exponent in (0.5, 1, 2, 3, 5, 6, 8, 9, 2.5):
        torch.testing.assert_close(power(x, exponent), x**exponent)


def test_overlapping_blocks_hold_every_overlap(monkeypatch):
    """Boxes far from their priors cost more, but are not missed; small blocks change nothing."""
    from registry_losses.assigners.candidates import predicted_overlaps as overlapping

    g = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 100, 2, generator=g) * 60
    boxes = torch.cat((corner, corner + torch.rand(2, 100, 2, generator=g) * 9), dim=-1)
    gt = scenes.random_gt(5, 2)
    allowed = torch.rand(2, 100, generator=g) < 0.8
    expected = bbox_overlaps(boxes, gt.boxes) * allowed[..., None] * gt.valid[:, None]
    for most in (1, 10**6):
        monkeypatch.setattr(overlapping, 'block_elements', lambda device, most=most: most)
        found = torch.zeros(2, 112, gt.max_gts)
        for block in overlapping_blocks(boxes, gt, allowed):
            row = block.row
            prior_index = block.first_prior[:, None] + torch.arange(overlapping.RUN_LENGTH)
            found[block.image[row][:, None], prior_index, block.gt[row][:, None]] = block.overlaps
        assert torch.equal(found[:, :100], expected)
        assert not found[:, 100:].any()


# --- OTA -----------------------------------------------------------------------------


@examples
@given(seeds, st.sampled_from(KINDS), st.booleans())
def test_ota(seed, kind, rescale):
    priors, gt, predictions = scene(kind, seed)
    found = OTAAssigner(rescale=rescale)(priors, gt, predictions)
    assert scenes.pairs_of(found) == oracles.ota(priors, gt, predictions, rescale=rescale)


def test_ota_gives_each_gt_its_k():
    """Perfect boxes on three of the priors inside: the gt supplies three labels."""
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(8, 8)])])
    gt = scenes.gt_of([[(8, 8, 40, 40)]])
    boxes = priors.boxes.clone()
    perfect = [9, 10, 18]
    boxes[perfect] = gt.boxes[0, 0]
    far = [i for i in range(64) if i not in perfect]
    boxes[far] = torch.tensor([60.0, 60, 64, 64])
    scores = torch.full((1, 64, 2), 0.1)
    found = OTAAssigner()(priors, gt, Predictions(boxes[None], scores))
    assert found.prior.tolist() == perfect


# --- PAA -----------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(KINDS), st.sampled_from([2, 9]))
def test_paa(seed, kind, topk):
    priors, gt, _ = scene(kind, seed)
    assigner = PAAAssigner(topk)
    first = assigner(priors, gt)
    candidates = MaxIoUAssigner(0.1, 0.1, min_pos_iou=0)(priors, gt)
    assert scenes.pairs_of(first) == scenes.pairs_of(candidates)
    g = torch.Generator().manual_seed(seed)
    loss = torch.rand(first.num_pairs, generator=g) * 3 + (
        torch.rand(first.num_pairs, generator=g) > 0.5
    )
    found = assigner.refine(first, priors, gt, loss)
    level = priors.level_ids[first.prior].tolist()
    assert scenes.pairs_of(found) == oracles.paa(scenes.pairs_of(first), loss.numpy(), level, topk)


def test_mixtures_equal_scikit_learn():
    from sklearn.mixture import GaussianMixture

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
        reference = GaussianMixture(
            2,
            weights_init=[0.5, 0.5],
            means_init=row.numpy()[[0, -1], None],
            precisions_init=np.ones((2, 1)),
            covariance_type='diag',
        ).fit(row.numpy()[:, None])
        np.testing.assert_allclose(fit.weight[i], reference.weights_, rtol=1e-6)
        np.testing.assert_allclose(fit.mean[i], reference.means_[:, 0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fit.variance[i], reference.covariances_[:, 0], rtol=1e-5)


def test_paa_by_hand():
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


def test_paa_ignores_what_it_drops_in_a_region():
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(40, 40)])])
    gt = scenes.gt_of([[(10, 10, 50, 50)]], ignore=[[(0, 0, 64, 64)]])
    assigner = PAAAssigner()
    first = assigner(priors, gt)
    found = assigner.refine(first, priors, gt, torch.arange(first.num_pairs).float())
    assert 0 < found.num_pairs < first.num_pairs
    dropped = first.positive_mask() & ~found.positive_mask()
    assert found.ignored[dropped].all() and not found.ignored[found.positive_mask()].any()


def test_paa_takes_any_proposer():
    assigner = TASK_UTILS.build(dict(type='PAAAssigner', candidates=dict(type='YOLOV1Assigner')))
    assert assigner.needs == {'pair_loss', 'predictions'} and assigner.requires_grid


# --- Hungarian -----------------------------------------------------------------------

COSTS = (
    dict(type='FocalLossCost', weight=2.0),
    dict(type='BBoxL1Cost', weight=5.0),
    dict(type='IoUCost', weight=2.0),
)


@examples
@given(seeds, st.sampled_from(KINDS))
def test_hungarian(seed, kind):
    """As cheap in all as the solution of the whole matrix, and equal where it is unique."""
    priors, gt, predictions = scene(kind, seed)
    assigner = HungarianAssigner(COSTS)
    found = assigner(priors, gt, predictions)
    cost = assigner.cost(gt, predictions).double()
    for b in range(2):
        prior_index = torch.arange(priors.num_priors)
        if priors.valid is not None:
            prior_index = prior_index[priors.valid[b]]
        gts = gt.valid[b].nonzero()[:, 0]
        whole = cost[b][prior_index][:, gts]
        n, g = linear_sum_assignment(whole)
        mine = found.image == b
        paid = cost[b, found.prior[mine], found.gt[mine]]
        assert len(paid) == len(n) and len(set(found.gt[mine].tolist())) == len(n)
        assert float(paid.sum()) == pytest.approx(float(whole[n, g].sum()), abs=1e-4)
        if len({tuple(x) for x in gt.boxes[b, gts].tolist()}) == len(gts):
            expected = sorted(zip(prior_index[n].tolist(), gts[g].tolist()))
            assert sorted(zip(found.prior[mine].tolist(), found.gt[mine].tolist())) == expected


def test_match_costs_by_hand():
    inputs = MatchInputs(
        boxes=torch.tensor([[[0.0, 0, 10, 20]]]),
        scores=torch.tensor([[[0.5, 0.25]]]),
        gt_boxes=torch.tensor([[[0.0, 0, 10, 10]]]),
        gt_labels=torch.tensor([[1]]),
        image_sizes=torch.tensor([[100.0, 50.0]]),
    )
    assert ClassificationCost(weight=2.0)(inputs).item() == -0.5
    assert BBoxL1Cost()(inputs).item() == pytest.approx(0.1)
    assert BBoxL1Cost('xywh', weight=10)(inputs).item() == pytest.approx(1.5)
    assert IoUCost('iou')(inputs).item() == -0.5 and IoUCost()(inputs).item() == -0.5
    positive, negative = -0.25 * 0.75**2 * math.log(0.25), -0.75 * 0.25**2 * math.log(0.75)
    assert FocalLossCost()(inputs).item() == pytest.approx(positive - negative, abs=1e-6)
    for build in (
        lambda: BBoxL1Cost('cxcywh'),
        lambda: IoUCost('iuo'),
        lambda: FocalLossCost(binary_input=True),
        lambda: HungarianAssigner([]),
    ):
        with pytest.raises(ConfigError):
            build()
    assert "iou_mode='giou'" in repr(IoUCost())


def test_hungarian_copes_with_what_is_not_finite():
    priors, gt, predictions = scene(scenes.points, 3)
    predictions.boxes[:, ::3] = math.nan
    found = HungarianAssigner(COSTS)(priors, gt, predictions)
    assert found.num_pairs == int(gt.valid.sum())
    assert (found.prior % 3 > 0).all()


def test_hungarian_form_asks_for_one_kind_of_scores():
    assigner = HungarianAssigner([dict(type='ClassificationCost'), dict(type='FocalLossCost')])
    pred = SimpleNamespace(bboxes=torch.rand(4, 4), scores=torch.rand(4, 3))
    gts = SimpleNamespace(bboxes=torch.rand(1, 4), labels=torch.zeros(1, dtype=torch.long))
    with pytest.raises(ConfigError, match='logits'):
        assigner.assign(pred, gts, dict(img_shape=(8, 8)))


def test_hungarian_uses_the_devices_solver(monkeypatch):
    """With a stand-in for the batched solver: the same pairs as on the host."""

    def solve(cost):
        out = torch.full(cost.shape[:2], -1)
        for b, matrix in enumerate(cost.double().numpy()):
            row, column = linear_sum_assignment(matrix)
            out[b, row] = torch.from_numpy(column)
        return out

    module = SimpleNamespace(batch_linear_assignment=solve)
    monkeypatch.setitem(sys.modules, 'torch_linear_assignment', module)
    from registry_losses.assigners.hungarian import _device_solver

    assigner = HungarianAssigner(COSTS)
    for seed in range(6):
        priors = some_valid(scenes.points(), seed)
        gt = scenes.random_gt(seed, 2, ties=False)
        predictions = scenes.random_predictions(seed, priors, 2)
        host = assigner(priors, gt, predictions)
        if gt.max_gts == 0:
            continue
        found = assigner._solve_on_device(priors, gt, predictions, _device_solver())
        assert sorted(zip(*(v.tolist() for v in found))) == sorted(
            (b, g, n) for b, n, g in scenes.pairs_of(host)
        )


# --- Joints --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'assigner',
    [
        SimOTAAssigner(),
        DynamicSoftLabelAssigner(),
        OTAAssigner(),
        FCOSAssigner(center_sampling=True),
    ],
)
def test_a_joint_stands_where_it_is(assigner):
    """A square that the border cuts has another centre than its joint."""
    priors = scenes.grid_priors([scenes.square_level(64, 4, [(4, 4)])])
    gt = scenes.gt_of([[(0, 0, 24, 40)]])
    gt = replace(gt, points=torch.tensor([[[2.0, 18.0]]]))
    predictions = Predictions(
        priors.boxes[None].clone(), torch.full((1, priors.num_priors, scenes.CLASSES), 0.2)
    )
    found = assigner(priors, gt, predictions)
    offset = (priors.centers[found.prior] - gt.points[0, 0]).abs()
    assert found.num_pairs and offset.max() < 10
