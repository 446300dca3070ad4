import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from registry_losses.errors import ShapeError
from registry_losses.ops import roi_align
from registry_losses.ops.roi_align import _torchvision_roi_align
from registry_losses.testing.memory import peak_bytes


def bilinear(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[low, left] * (1 - dx) + plane[low, right] * dx
    return float(upper * (1 - dy) + lower * dy)


def naive(features, roi, size, scale, ratio, aligned):
    """One region, sample by sample."""
    shift = 0.5 if aligned else 0
    x1, y1, x2, y2 = (value * scale - shift for value in roi[1:].tolist())
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1), max(height, 1)
    bin_h, bin_w = height / size[0], width / size[1]
    gy = ratio or max(0, math.ceil(bin_h))
    gx = ratio or max(0, math.ceil(bin_w))
    out = torch.zeros(features.shape[1], *size)
    for c, plane in enumerate(features[int(roi[0])]):
        for p in range(size[0]):
            for q in range(size[1]):
                total = 0.0
                for i in range(gy):
                    for j in range(gx):
                        y = y1 + p * bin_h + (i + 0.5) * bin_h / gy
                        x = x1 + q * bin_w + (j + 0.5) * bin_w / gx
                        total += bilinear(plane, y, x)
                out[c, p, q] = total / max(gy * gx, 1)
    return out


ROIS = torch.tensor(
    [
        [0, 3.0, 5, 40, 31],
        [1, -20, -9, 30, 12],
        [1, 60, 40, 110, 90],
        [0, 10, 10, 10.5, 11],
        [1, 0, 0, 64, 48],
        [0, 200, 200, 260, 230],
        [1, 20, 20, 10, 30],
        [1, 7, 3, 39, 9],
    ]
)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('size', [(2, 3), (7, 7)])
def test_equals_the_naive_loop(size, ratio, aligned):
    features = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    got = roi_align(features, ROIS, size, 0.25, ratio, aligned=aligned, backend='torch')
    wanted = torch.stack([naive(features, roi, size, 0.25, ratio, aligned) for roi in ROIS])
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_gradient():
    features = torch.randn(2, 2, 5, 6, dtype=torch.double, requires_grad=True)
    rois = ROIS[:4].clone()

    def pooled(maps):
        return roi_align(maps, rois, 2, 0.1, backend='torch').double()

    # Sampling is linear in the features: one exact step checks the gradient.
    step = torch.randn_like(features)
    weights = torch.randn(4, 2, 2, 2, dtype=torch.double)
    (grad,) = torch.autograd.grad((pooled(features) * weights).sum(), features)
    change = ((pooled(features + step) - pooled(features)) * weights).sum()
    torch.testing.assert_close((grad * step).sum(), change, rtol=1e-4, atol=1e-5)


def test_chunks_and_one_size_do_not_change_the_result(monkeypatch):
    features = torch.randn(2, 3, 12, 16)
    whole = roi_align(features, ROIS, 3, 0.25, backend='torch')
    # The package exports the function under the module's name.
    module = sys.modules['registry_losses.ops.roi_align']
    monkeypatch.setattr(module, '_LEAST_CORNERS', 1)
    monkeypatch.setattr(module, '_channel_groups', lambda *_: [slice(0, 2), slice(2, 3)])
    assert torch.equal(roi_align(features, ROIS, (3, 3), 0.25, backend='torch'), whole)


def test_few_regions_and_many_share_calls_differently_and_agree(monkeypatch):
    features = torch.randn(2, 3, 12, 16)
    few = roi_align(features, ROIS, 3, 0.25, backend='torch')
    monkeypatch.setattr(sys.modules['registry_losses.ops.roi_align'], '_FEW', 0)
    torch.testing.assert_close(roi_align(features, ROIS, 3, 0.25, backend='torch'), few)


def test_no_region_and_half_precision():
    features = torch.randn(1, 2, 4, 4, requires_grad=True)
    none = roi_align(features, torch.zeros(0, 5), 7, backend='torch')
    assert none.shape == (0, 2, 7, 7)
    none.sum().backward()
    assert features.grad.abs().sum() == 0
    half = roi_align(features.detach().bfloat16(), ROIS[:1], 2, 0.1, backend='torch')
    assert half.dtype == torch.bfloat16


def test_errors():
    with pytest.raises(ShapeError, match='rois'):
        roi_align(torch.zeros(1, 1, 2, 2), torch.zeros(3, 4), 2)
    with pytest.raises(ValueError, match='backend'):
        roi_align(torch.zeros(1, 1, 2, 2), torch.zeros(3, 5), 2, backend='onnx')


@pytest.mark.skipif(_torchvision_roi_align() is None, reason='needs a torchvision that fits torch')
def test_torchvision_agrees():
    features = torch.randn(2, 3, 12, 16)
    ours = roi_align(features, ROIS, 7, 0.25, backend='torch')
    theirs = roi_align(features, ROIS, 7, 0.25, backend='torchvision')
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


DATA = Path(__file__).parents[1] / 'data' / 'components' / 'op_RoIAlign.npz'
CASES = {case['id']: case for case in json.loads(str(np.load(DATA)['params']))['cases']}


@pytest.mark.parametrize('name', CASES)
def test_equals_the_reference_operator(name):
    """Value and gradient of mmcv 2.1.0's operator: regions of all kinds, in and out of the map."""
    case, z = CASES[name], np.load(DATA)
    if 'peer_error' in case:
        # Regions turned inside out are refused there; here they hold no sample, or a few.
        features, rois = (torch.from_numpy(z[key]) for key in (case['feat'], f'{name}/in_rois'))
        options = {k: v for k, v in case['kwargs'].items() if k != 'pool_mode'}
        assert roi_align(features, rois, backend='torch', **options).isfinite().all()
        return
    options = {k: v for k, v in case['kwargs'].items() if k != 'pool_mode'}
    features = torch.from_numpy(z[case['feat']]).requires_grad_()
    rois, cotangent, wanted, grad = (
        torch.from_numpy(z[f'{name}/{key}'])
        for key in ('in_rois', 'in_cotangent', 'out_feats', 'grad_feat')
    )
    got = roi_align(features, rois, backend='torch', **options)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    (got * cotangent).sum().backward()
    torch.testing.assert_close(features.grad, grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('shape', 'number', 'scale'),
    [
        ((2, 256, 40, 60), 60, 1 / 16),
        ((2, 64, 25, 40), 150, 1 / 32),
        ((1, 256, 100, 160), 100, 1 / 8),
    ],
)
def test_holds_no_more_than_its_output_and_one_temporary_of_that_size(shape, number, scale):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(*shape, generator=generator)
    low = torch.rand(number, 2, generator=generator) * 300
    sides = 100 + torch.rand(number, 2, generator=generator) * 300
    image = torch.randint(0, shape[0], (number, 1), generator=generator)
    rois = torch.cat((image, low, low + sides), dim=1)

    def call():
        return roi_align(features, rois, 7, scale, backend='torch')

    size = call().numel() * 4
    most = peak_bytes(call)
    assert size <= most <= 2 * size
