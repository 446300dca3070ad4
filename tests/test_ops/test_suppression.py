"""Suppression by a config node: every key is read or refused, Soft-NMS against plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.config import load_config
from registry_losses.errors import ConfigError
from registry_losses.heads.prediction import suppress
from registry_losses.ops import Suppression, nms, soft_nms

DIGITS = 'registry_losses::retinanet/retinanet_tiny_digits.py'


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return both / max(sum(area) - both, 1e-30)


def plain_soft_nms(boxes, scores, threshold, method, sigma, least):
    """The paper's figure 2, box by box."""
    left = {i: s for i, s in enumerate(scores) if s >= least}
    found = {}
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        found[best] = left.pop(best)
        for i in list(left):
            iou = overlap(boxes[best], boxes[i])
            if method == 'gaussian':
                left[i] *= math.exp(-iou * iou / sigma)
            elif iou >= threshold:
                left[i] *= 1 - iou if method == 'linear' else 0.0
            if left[i] < least:
                del left[i]
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 24), st.sampled_from(['linear', 'gaussian', 'naive']))
def test_soft_nms_is_the_plain_loop(seed, count, method):
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=g) * 20
    boxes = torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=g) * 20), dim=1)
    scores = torch.rand(count, generator=g)
    groups = torch.randint(0, 3, (count,), generator=g) * 7
    kept, values = soft_nms(boxes, scores, groups, 0.3, method=method, sigma=0.4, min_score=0.1)
    assert (values[1:] <= values[:-1]).all()
    mine = dict(zip(kept.tolist(), values.tolist()))
    wanted = {}
    for group in groups.unique().tolist():
        place = (groups == group).nonzero().squeeze(1).tolist()
        found = plain_soft_nms(
            boxes[place].double().tolist(), scores[place].double().tolist(), 0.3, method, 0.4, 0.1
        )
        wanted.update({place[i]: value for i, value in found.items()})
    assert mine.keys() == wanted.keys()
    assert all(mine[i] == pytest.approx(wanted[i], abs=1e-5) for i in mine)


def test_linear_by_hand():
    """IoU 0.9 with the best: 0.8 becomes 0.08; the third is alone."""
    boxes = torch.tensor([[0, 0, 100, 100], [0, 0, 100, 90.0], [200, 200, 300, 300]])
    kept, values = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long())
    assert kept.tolist() == [0, 2, 1]
    torch.testing.assert_close(values, torch.tensor([0.9, 0.7, 0.08]))


@pytest.mark.parametrize('kind', ['soft_nms', 'nms'])
def test_nothing_in_nothing_out(kind):
    rule = Suppression.of(dict(type=kind, iou_threshold=0.5))
    kept, values = rule(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert kept.shape == values.shape == (0,)


@pytest.mark.parametrize(
    ('node', 'message'),
    [
        (dict(type='no_such_nms', iou_threshold=0.5), r'nms\.type: expected one of nms, soft_nms'),
        (dict(type='nms', iou_threshold=0.5, iou_thr=0.9), r'nms\.iou_thr stands beside'),
        (dict(type='nms', iou_treshold=0.5), r'nms\.iou_treshold: .*Nearest: iou_threshold'),
        (dict(type='nms'), r'nms\.iou_threshold: nms needs'),
        (dict(type='nms', iou_threshold=0.5, sigma=0.3), r'nms\.sigma: nms does not read'),
        (dict(type='nms', iou_threshold=1.5), r'nms\.iou_threshold: expected 0 to 1, got 1\.5'),
        (dict(type='soft_nms', method='cubic'), r'nms\.method: expected one of linear'),
        (dict(type='nms', iou_threshold=0.5, offset=1), r'nms\.offset: expected 0'),
    ],
)
def test_what_is_not_understood_is_refused(node, message):
    with pytest.raises(ConfigError, match=message):
        Suppression.of(node)
    with pytest.raises(ConfigError, match=rf'model\.test_cfg\.{message}'):
        load_config(DIGITS, options={'model.test_cfg.nms': dict(node, _delete_=True)})
    with pytest.raises(ConfigError, match=message):
        suppress(
            torch.zeros(1, 1, 4),
            torch.ones(1, 1),
            torch.zeros(1, 1).long(),
            nms=node,
            max_per_img=-1,
        )


BOXES = torch.tensor([[[0, 0, 100, 100], [0, 0, 100, 90.0], [200, 200, 300, 300]]])


def found(labels, **node):
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    (result,) = suppress(BOXES, scores, torch.tensor([labels]), nms=node, max_per_img=-1)
    return [round(value, 3) for value in result.scores.tolist()]


def test_every_key_is_read():
    plain = dict(type='nms', iou_threshold=0.5)
    assert found([0, 0, 0], **plain) == [0.9, 0.7]
    assert found([0, 1, 0], **plain) == [0.9, 0.8, 0.7]
    assert found([0, 1, 0], **plain, class_agnostic=True) == [0.9, 0.7]
    assert found([0, 0, 0], type='nms', iou_thr=0.95) == [0.9, 0.8, 0.7]
    assert found([0, 0, 0], **plain, max_num=1) == [0.9]
    assert found([0, 0, 0], **plain, score_threshold=0.7) == [0.9]
    assert found([0, 0, 0], type='soft_nms', iou_threshold=0.5, min_score=0.05) == [0.9, 0.7, 0.08]
    assert found([0, 0, 0], type='soft_nms', min_score=0.1) == [0.9, 0.7]
    wanted = round(0.8 * math.exp(-0.81 / 2.0), 3)
    soft = dict(type='soft_nms', method='gaussian', sigma=2.0)
    assert sorted(found([0, 0, 0], **soft)) == sorted([0.9, 0.7, wanted])


def test_naive_soft_nms_is_plain_nms():
    g = torch.Generator().manual_seed(3)
    corner = torch.rand(60, 2, generator=g) * 50
    boxes, scores = torch.cat((corner, corner + 20), dim=1), torch.rand(60, generator=g) + 0.1
    kept, _ = soft_nms(boxes, scores, torch.zeros(60).long(), 0.4, method='naive')
    assert kept.tolist() == nms(boxes, scores, 0.4).tolist()
