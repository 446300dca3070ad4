"""Every assigner places the positives of every pose head: a step learns, in every cell."""

import numpy as np
import pytest
import torch

from registry_losses.errors import PairingError
from registry_losses.registry import TASK_UTILS

from .scenes import embedding, openpose, people, sample

HEADS = {'AEHead': embedding, 'OpenPoseHead': openpose}
# Settings that assigners have no default for, or that suit one level of stride 4.
SETTINGS = {
    'FCOSAssigner': dict(regress_ranges=((-1, 1e8),)),
    'GridAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    'ApproxMaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    'CenterRegionAssigner': dict(pos_scale=0.2, neg_scale=0.5),
    'TopkHungarianAssigner': dict(topk=4),
    'UniformAssigner': dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
}


def assigners():
    names = []
    for name, part in TASK_UTILS.module_dict.items():
        if name == 'WrappedAssigner':  # stands for another package's
            continue
        if name.endswith('Assigner') and part.__module__.startswith('registry_losses.assigners'):
            names.append(name)
    return sorted(names)


def losses_of(head, feats, shown):
    return head.loss(feats, shown)


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('assigner', assigners())
def test_every_cell_trains(name, assigner):
    """Finite losses, a gradient in every parameter, and a lower loss after a few steps."""
    torch.manual_seed(0)
    node = dict(type=assigner, **SETTINGS.get(assigner, {}))
    # Detection rules need logits and a loss of classes: MSE compares with Gaussians.
    loss = dict(type='FocalLoss') if assigner != 'GaussianAssigner' else None
    try:
        # Rules that choose anew at every step change how many cells there are to divide by.
        terms = dict(loss_heatmap=dict(normalizer='positives')) if loss else None
        head = HEADS[name](train_cfg=dict(assigner=node), loss_heatmap=loss, loss_terms=terms)
    except (PairingError, TypeError) as error:
        pytest.skip(str(error)[:80])
    head.init_weights()
    head.train()
    shown = [sample(people(2, seed=s)) for s in range(2)] + [sample(np.zeros((0, 17, 2)))]
    feats = [torch.randn(3, 8, 32, 32)]
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    totals = []
    for _ in range(4):
        losses = losses_of(head, feats, shown)
        total = sum(losses.values())
        assert all(torch.isfinite(value) for value in losses.values()), losses
        optimizer.zero_grad()
        total.backward()
        assert all(p.grad is not None for p in head.parameters())
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0], totals


@pytest.mark.parametrize('loss', [
    dict(type='KeypointMSELoss'), dict(type='AdaptiveWingLoss'), dict(type='KeypointOHKMMSELoss'),
    dict(type='GaussianFocalLoss'), dict(type='FocalLoss'),
])  # fmt: skip
def test_heatmap_losses_change_by_one_line(loss):
    torch.manual_seed(0)
    head = embedding(loss_heatmap=loss)
    head.init_weights()
    losses = head.loss([torch.randn(2, 8, 32, 32)], [sample(people(2)), sample(people(1))])
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert head.final_layer.weight.grad.abs().sum() > 0
