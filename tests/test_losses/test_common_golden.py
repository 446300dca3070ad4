"""Every loss against reference outputs of mmdet 3.3.0, MMYOLO 0.6.0 and MMPose 1.3.2.

Values, gradients, the mean and the mean over avg_factor, each to 1e-5 of the largest
entry; ours are finite also where the reference is not.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import registry_losses.losses as losses

DATA = Path(__file__).parents[1] / 'data' / 'losses'
SPECIAL = ('AssociativeEmbeddingLoss', 'KeypointMSELoss')


def cases(special=False):
    for path in sorted(DATA.glob('*.npz')):
        if (path.stem in SPECIAL) != special:
            continue
        for case in json.loads(str(np.load(path)['params']))['cases']:
            yield pytest.param(path, case, id=f'{path.stem}-{case["id"]}')


def arrays(path, case):
    z = np.load(path)
    return {name: torch.from_numpy(z[f'{case["id"]}/{name}']) for name in case['arrays']}


def assert_close(got, want, what):
    got, want = got.detach().float(), want.float()
    assert torch.isfinite(got).all(), f'{what}: ours must be finite'
    known = torch.isfinite(want)
    if known.any():
        scale = float(want[known].abs().max())
        torch.testing.assert_close(
            got[known], want[known], rtol=1e-5, atol=1e-5 * max(scale, 1e-3), msg=what
        )


@pytest.mark.parametrize(('path', 'case'), list(cases()))
def test_equals_the_reference(path, case):
    a = arrays(path, case)
    options = {k: v for k, v in case['kwargs'].items() if k != 'return_iou'}
    loss = getattr(losses, path.stem)(**options)
    pred = a['in_pred'].requires_grad_()
    target = (a['in_target'], a['in_score']) if 'in_score' in a else a['in_target']
    call = dict(weight=a.get('in_weight'))
    if path.stem in ('GHMC', 'GHMR'):
        call = dict(label_weight=a.get('in_weight'))
    if 'out_loss' in a:
        out = loss(pred, target, **call, reduction_override='none')
        if pred.numel():
            assert out.shape == a['out_loss'].shape
            assert_close(out, a['out_loss'], 'loss')
        if 'grad_pred' in a:
            (grad,) = torch.autograd.grad(out.sum(), pred)
            assert_close(grad, a['grad_pred'], 'gradient')
    if 'out_mean' in a:
        assert_close(loss(pred, target, **call), a['out_mean'], 'mean')
    if 'out_avg' in a:
        out = loss(pred, target, **call, avg_factor=case['avg_factor'])
        assert_close(out, a['out_avg'], 'avg_factor')


@pytest.mark.parametrize(('path', 'case'), list(cases(special=True)))
def test_pose_losses_equal_the_reference(path, case):
    a = arrays(path, case)
    loss = getattr(losses, path.stem)(**case['kwargs'])
    if path.stem == 'KeypointMSELoss':
        pred = a['in_pred'].requires_grad_()
        out = loss(pred, a['in_target'], a.get('in_target_weights'), a.get('in_mask'))
        assert_close(out, a['out_loss'], 'loss')
        assert_close(torch.autograd.grad(out, pred)[0], a['grad_pred'], 'gradient')
        return
    tags = a['in_tags'].requires_grad_()
    indices = [a[f'in_indices_{i}'] for i in range(len(tags))]
    for name, value in zip(('pull', 'push'), loss(tags, indices)):
        assert_close(value, a[f'out_{name}'], name)
        (grad,) = torch.autograd.grad(value, tags, retain_graph=True)
        assert_close(grad, a[f'grad_{name}'], f'gradient of {name}')
