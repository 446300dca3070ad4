"""What holds for every assigner: one suite, every row of the table, every kind of priors."""

import math
from dataclasses import replace

import pytest
import torch

from registry_losses.assigners import (
    DynamicSoftLabelAssigner,
    FCOSAssigner,
    OTAAssigner,
    SimOTAAssigner,
)
from registry_losses.errors import PairingError, ShapeError
from registry_losses.structures import Assignment, GroundTruth, Predictions, Priors

from . import scenes
from .cases import ASSIGNERS, GRIDS

BATCH = 3

cases = pytest.mark.parametrize('name', ASSIGNERS)
kinds = pytest.mark.parametrize('kind', [*GRIDS, 'proposals'])


def priors_of(name: str, kind: str, batch: int = BATCH) -> Priors:
    """The priors of a kind; skips where the pair is not defined."""
    if kind != 'proposals':
        return GRIDS[kind]()
    if ASSIGNERS[name].assigner.requires_grid:
        pytest.skip('needs a grid')
    return scenes.proposals(batch)


def run(name: str, priors: Priors, gt: GroundTruth, seed: int = 0) -> Assignment:
    """Assign, and check what the contract promises of any answer."""
    assigner = ASSIGNERS[name].assigner
    predictions = scenes.random_predictions(seed, priors, gt.batch_size)
    found = assigner(priors, gt, predictions if 'predictions' in assigner.needs else None)
    b, n = gt.batch_size, priors.num_priors
    assert found.ignored.shape == (b, n)
    pairs = scenes.pairs_of(found)
    assert pairs == sorted(pairs)
    for image, prior, index in pairs:
        assert 0 <= prior < n and gt.valid[image, index]
        assert not found.ignored[image, prior]
        assert priors.valid is None or priors.valid[image, prior]
    if priors.valid is not None:
        assert (found.ignored | priors.valid).all()
    if found.one_to_one:
        assert len({pair[:2] for pair in pairs}) == len(pairs)
    assert ((found.quality > 0) & (found.quality <= 1)).all()
    assert torch.isfinite(found.weight).all()
    return found


def same(ours: Assignment, theirs: Assignment) -> None:
    """Equal pairs, values, and ignored priors."""
    assert scenes.pairs_of(ours) == scenes.pairs_of(theirs)
    assert torch.equal(ours.ignored, theirs.ignored)
    torch.testing.assert_close(ours.quality, theirs.quality)
    torch.testing.assert_close(ours.weight, theirs.weight)


@cases
@kinds
def test_batch_equals_image_by_image(name, kind):
    priors, assigner = priors_of(name, kind), ASSIGNERS[name].assigner
    for seed in range(4):
        gt = scenes.random_gt(seed, BATCH)
        predictions = scenes.random_predictions(seed, priors, BATCH)
        whole = run(name, priors, gt, seed)
        for i in range(BATCH):
            own = type(predictions)(predictions.boxes[i : i + 1], predictions.scores[i : i + 1])
            one = assigner(scenes.image_of(priors, i), scenes.gt_image(gt, i), own)
            mine = whole.select(whole.image == i)
            mine = mine.replace(image=mine.image * 0, ignored=whole.ignored[i : i + 1])
            same(mine, one)


@cases
@kinds
def test_permuting_gts_permutes_the_answer(name, kind):
    priors = priors_of(name, kind)
    found_some = 0
    for seed in range(4):
        if ASSIGNERS[name].ordered:
            gt = scenes.separate_gts(seed, BATCH)
        else:
            gt = scenes.random_gt(seed, BATCH, ties=False)
        order = torch.randperm(gt.max_gts, generator=torch.Generator().manual_seed(seed))
        before = run(name, priors, gt, seed)
        after = run(name, priors, scenes.select_gts(gt, order), seed)
        renamed = sorted((b, n, int(order[g])) for b, n, g in scenes.pairs_of(after))
        assert renamed == scenes.pairs_of(before)
        assert torch.equal(before.ignored, after.ignored)
        found_some += before.num_pairs
    assert found_some


@cases
@kinds
def test_no_gt_anywhere(name, kind):
    for gt in (scenes.gt_of([[], [], []]), scenes.gt_of([[(70, 5, 90, 20)], [], []])):
        found = run(name, priors_of(name, kind), gt)
        assert found.num_pairs == 0 and not found.ignored.any()


@cases
@kinds
def test_one_gt_among_empty_images(name, kind):
    gt = scenes.gt_of([[], [(8, 9, 41, 39)], []])
    found = run(name, priors_of(name, kind), gt)
    assert set(found.image.tolist()) <= {1}
    assert not found.ignored[0].any() and not found.ignored[2].any()
    if kind != 'proposals' and not ASSIGNERS[name].may_skip:
        assert found.num_pairs


@cases
@kinds
def test_odd_gts(name, kind):
    """No area, inverted, not finite, outside, larger than the image, twins."""
    nan = float('nan')
    boxes = [
        (20, 20, 20, 20),
        (20, 20, 40, 20),
        (40, 40, 20, 20),
        (nan, 0, 10, 10),
        (0, 0, float('inf'), 10),
        (-500, -500, 900, 900),
        (64, 64, 80, 80),
        (63.9, 63.9, 80, 80),
        (64, 64, 64, 64),
        (10, 10, 30, 40),
        (10, 10, 30, 40),
    ]
    run(name, priors_of(name, kind), scenes.gt_of([boxes, [], boxes[::-1]]))


@cases
def test_more_gts_than_priors(name):
    """Candidates run out, and so do levels smaller than k."""
    priors = scenes.grid_priors(
        [scenes.square_level(64, s, [(s, s)]) for s in (32, 64)]  # 5 priors
    )
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=g) * 40
    boxes = torch.cat((corner, corner + 4 + 20 * torch.rand(40, 2, generator=g)), dim=1)
    gt = scenes.gt_of([boxes.tolist(), boxes[:1].tolist()])
    found = run(name, priors, gt)
    assert found.num_pairs or ASSIGNERS[name].may_skip


@cases
def test_thousands_of_gts(name):
    g = torch.Generator().manual_seed(0)
    count = 800 if 'Hungarian' in name else 2000  # still more gts than priors
    corner = torch.rand(count, 2, generator=g) * 120
    boxes = torch.cat((corner, corner + 2 + 30 * torch.rand(count, 2, generator=g)), dim=1)
    gt = scenes.gt_of([boxes.tolist(), boxes[:3].tolist()], size=128)
    priors, assigner = scenes.yolo_anchors(128), ASSIGNERS[name].assigner
    predictions = scenes.random_predictions(0, priors, 2)
    found = assigner(priors, gt, predictions)
    assert found.num_pairs and not found.ignored.view(-1)[found.flat_index].any()
    own = type(predictions)(predictions.boxes[1:], predictions.scores[1:])
    one = assigner(priors, scenes.gt_image(gt, 1), own)
    mine = found.select(found.image == 1)
    assert torch.equal(mine.prior, one.prior) and torch.equal(mine.gt, one.gt)


@cases
@kinds
def test_priors_that_do_not_take_part(name, kind):
    priors = priors_of(name, kind)
    for seed, chance in ((0, 0.5), (1, 0.05), (2, 0.0)):
        g = torch.Generator().manual_seed(seed)
        valid = torch.rand(BATCH, priors.num_priors, generator=g) < chance
        gt = scenes.random_gt(seed, BATCH)
        found = run(name, priors.with_valid(valid), gt, seed)
        assert (found.ignored | valid).all()
        if chance == 0:
            assert found.num_pairs == 0 and found.ignored.all()


@cases
@kinds
def test_ignore_regions(name, kind):
    """Negatives with their centre in a region are ignored; a pair outranks it."""
    priors = priors_of(name, kind)
    region = (0.0, 0.0, 30.0, 64.0)
    boxes = [[(5, 5, 28, 30), (40, 40, 60, 60)], [(6, 30, 27, 58)], []]
    plain = run(name, priors, scenes.gt_of(boxes))
    gt = scenes.gt_of(boxes, ignore=[[region, (70, 70, 80, 80)], [], [region]])
    found = run(name, priors, gt)
    assert scenes.pairs_of(found) == scenes.pairs_of(plain)
    x, y = priors.centers.expand(BATCH, -1, 2).unbind(-1)
    inside = (x > 0) & (x < 30) & (y > 0) & (y < 64)  # (B, N)
    assert inside.any() and not inside.all()
    inside[1] = False
    assert torch.equal(found.ignored, (plain.ignored | inside) & ~plain.positive_mask())


@cases
@pytest.mark.parametrize('kind', ['yolo', 'proposals'])
@pytest.mark.parametrize('of_prior', [True, False])
def test_ignore_regions_first(name, kind, of_prior):
    """With a threshold, priors in a region are no candidates (OpenMMLab's rule)."""
    priors, assigner = priors_of(name, kind), ASSIGNERS[name].assigner
    region = (0.0, 0.0, 40.0, 64.0)
    boxes = [[(5, 5, 28, 30), (40, 40, 60, 60)], [(6, 30, 27, 58)], []]
    gt = scenes.gt_of(boxes, ignore=[[region], [], []])
    share = _intersection(priors, region) / (_areas(priors) if of_prior else 40.0 * 64.0)
    thr = 0.6 if of_prior else 0.1
    options = (assigner.ignore_iof_thr, assigner.ignore_wrt_candidates)
    try:
        assigner.ignore_iof_thr, assigner.ignore_wrt_candidates = thr, of_prior
        found = run(name, priors, gt)
        assigner.ignore_iof_thr = -1
        off = run(name, priors, gt)
    finally:
        assigner.ignore_iof_thr, assigner.ignore_wrt_candidates = options
    inside = share > thr
    inside[1:] = False
    assert inside.any() and not inside[0].all()
    assert found.ignored[inside].all() and not inside[found.image, found.prior].any()
    same(found, run(name, priors.with_valid(~inside), scenes.gt_of(boxes)))
    same(off, run(name, priors, scenes.gt_of(boxes)))


@pytest.mark.parametrize('bad', [math.nan, math.inf])
@pytest.mark.parametrize(
    'name', [name for name, case in ASSIGNERS.items() if 'predictions' in case.assigner.needs]
)
def test_one_bad_prediction_costs_one_prior(name, bad):
    """A box, or the scores, of one positive: other images, and most of this one, stay."""
    priors = priors_of(name, 'points')
    gt = scenes.gt_of([[(5, 5, 28, 30), (33, 33, 62, 62)], [(6, 30, 27, 58)], []])
    predictions = scenes.random_predictions(0, priors, BATCH)
    before = run(name, priors, gt)
    prior = int(before.prior[0])
    for part in ('boxes', 'scores') if math.isnan(bad) else ('boxes',):
        values = getattr(predictions, part).clone()
        values[0, prior] = bad
        changed = replace(predictions, **{part: values})
        found = ASSIGNERS[name].assigner(priors, gt, changed)
        assert torch.isfinite(found.quality).all()
        others = [pair for pair in scenes.pairs_of(before) if pair[0] == 1]
        assert [pair for pair in scenes.pairs_of(found) if pair[0] == 1] == others
        assert (found.image == 0).sum() >= (before.image == 0).sum() - 2 and found.num_pairs


def _areas(priors: Priors) -> torch.Tensor:
    x1, y1, x2, y2 = priors.boxes.expand(BATCH, -1, 4).unbind(-1)
    return (x2 - x1) * (y2 - y1)


def _intersection(priors: Priors, region: tuple) -> torch.Tensor:
    x1, y1, x2, y2 = priors.boxes.expand(BATCH, -1, 4).unbind(-1)
    width = (x2.clamp(max=region[2]) - x1.clamp(min=region[0])).clamp(min=0)
    return width * (y2.clamp(max=region[3]) - y1.clamp(min=region[1])).clamp(min=0)


@cases
def test_ignore_mask(name):
    priors = scenes.points()
    boxes = [[(5, 5, 28, 30), (40, 40, 60, 60)], [(6, 30, 27, 58)], []]
    gt = scenes.gt_of(boxes)
    mask = torch.zeros(BATCH, 64, 64, dtype=torch.bool)
    mask[0, :, :32] = True
    plain, found = run(name, priors, gt), run(name, priors, replace(gt, ignore_mask=mask))
    left = torch.zeros(BATCH, priors.num_priors, dtype=torch.bool)
    left[0] = priors.centers[:, 0] < 32
    assert scenes.pairs_of(found) == scenes.pairs_of(plain)
    assert torch.equal(found.ignored, (plain.ignored | left) & ~plain.positive_mask())


@cases
def test_says_what_it_needs(name):
    assigner, gt = ASSIGNERS[name].assigner, scenes.random_gt(0, BATCH)
    if assigner.requires_grid:
        with pytest.raises(PairingError, match='bare boxes'):
            assigner(scenes.proposals(BATCH), gt, None)
    priors = scenes.points()
    if 'predictions' in assigner.needs:
        with pytest.raises(PairingError, match='predict'):
            assigner(priors, gt)
    with pytest.raises(ShapeError, match='valid'):
        valid = torch.ones(BATCH + 1, priors.num_priors, dtype=torch.bool)
        assigner(priors.with_valid(valid), gt, scenes.random_predictions(0, priors, BATCH))


@cases
def test_inputs_are_left_alone(name):
    priors, gt = scenes.anchors(), scenes.random_gt(1, BATCH)
    predictions = scenes.random_predictions(0, priors, BATCH)
    kept = [t.clone() for t in (priors.boxes, gt.boxes, gt.valid, gt.points, predictions.boxes)]
    ASSIGNERS[name].assigner(priors, gt, predictions)
    now = (priors.boxes, gt.boxes, gt.valid, gt.points, predictions.boxes)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(kept, now))


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
