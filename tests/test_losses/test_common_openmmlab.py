"""Every loss as OpenMMLab's own test code builds and calls it: names, defaults, order."""

import inspect

import pytest
import torch

import registry_losses.losses as losses

MEAN = dict(reduction='mean', loss_weight=1.0)
# Constructor arguments in order, with defaults: mmdet 3.3, mmyolo 0.6, mmpose 1.3.
SIGNATURES = {
    'CrossEntropyLoss': dict(
        use_sigmoid=False, use_mask=False, reduction='mean', class_weight=None,
        ignore_index=None, loss_weight=1.0, avg_non_ignore=False,
    ),
    'FocalLoss': dict(use_sigmoid=True, gamma=2.0, alpha=0.25, **MEAN, activated=False),
    'QualityFocalLoss': dict(use_sigmoid=True, beta=2.0, **MEAN, activated=False),
    'DistributionFocalLoss': MEAN,
    'VarifocalLoss': dict(use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True, **MEAN),
    'GaussianFocalLoss': dict(alpha=2.0, gamma=4.0, **MEAN, pos_weight=1.0, neg_weight=1.0),
    'GHMC': dict(bins=10, momentum=0, use_sigmoid=True, loss_weight=1.0, reduction='mean'),
    'GHMR': dict(mu=0.02, bins=10, momentum=0, loss_weight=1.0, reduction='mean'),
    'SeesawLoss': dict(
        use_sigmoid=False, p=0.8, q=2.0, num_classes=1203, eps=1e-2, **MEAN, return_dict=False
    ),
    'DiceLoss': dict(
        use_sigmoid=True, activate=True, reduction='mean', naive_dice=False, loss_weight=1.0,
        eps=1e-3,
    ),
    'L1Loss': MEAN,
    'MSELoss': MEAN,
    'SmoothL1Loss': dict(beta=1.0, **MEAN),
    'BalancedL1Loss': dict(alpha=0.5, gamma=1.5, beta=1.0, **MEAN),
    'IoULoss': dict(linear=False, eps=1e-6, **MEAN, mode='log'),
    'BoundedIoULoss': dict(beta=0.2, eps=1e-3, **MEAN),
    'GIoULoss': dict(eps=1e-6, **MEAN),
    'DIoULoss': dict(eps=1e-6, **MEAN),
    'CIoULoss': dict(eps=1e-6, **MEAN),
    'EIoULoss': dict(eps=1e-6, **MEAN, smooth_point=0.1),
    'SIoULoss': dict(eps=1e-6, **MEAN, neg_gamma=False),
    'KeypointMSELoss': dict(use_target_weight=False, skip_empty_channel=False, loss_weight=1.0),
    'KeypointOHKMMSELoss': dict(use_target_weight=False, topk=8, loss_weight=1.0),
    'AdaptiveWingLoss': dict(
        alpha=2.1, omega=14, epsilon=1, theta=0.5, use_target_weight=False, loss_weight=1.0
    ),
    'AssociativeEmbeddingLoss': dict(loss_weight=1.0, push_loss_factor=0.5),
}  # fmt: skip

SHARED = ['CrossEntropyLoss', 'FocalLoss', 'QualityFocalLoss', 'DistributionFocalLoss']
SHARED += ['VarifocalLoss', 'L1Loss', 'MSELoss', 'SmoothL1Loss', 'BalancedL1Loss', 'IoULoss']
SHARED += ['BoundedIoULoss', 'GIoULoss', 'DIoULoss', 'CIoULoss', 'EIoULoss', 'SIoULoss']


@pytest.mark.parametrize('name', SIGNATURES)
def test_constructor_arguments_in_order(name):
    parameters = inspect.signature(getattr(losses, name).__init__).parameters.values()
    got = {
        p.name: p.default
        for p in parameters
        if p.name != 'self' and p.kind is p.POSITIONAL_OR_KEYWORD
    }
    assert list(got.items())[: len(SIGNATURES[name])] == list(SIGNATURES[name].items())


def arguments(name):
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(6, 4, generator=generator)
    if name == 'DistributionFocalLoss':
        return pred, torch.rand(6, generator=generator) * 3
    if name in ('CrossEntropyLoss', 'FocalLoss'):
        return pred, torch.tensor([0, 1, 3, 2, 0, 1])
    if name == 'QualityFocalLoss':
        return pred, (torch.tensor([0, 1, 4, 2, 4, 1]), torch.rand(6, generator=generator))
    if name == 'VarifocalLoss':
        return pred, torch.rand(6, 4, generator=generator)
    pred[:, 2:] += pred[:, :2] + 1
    return pred, pred + torch.rand(6, 4, generator=generator) * 0.5


@pytest.mark.parametrize('name', SHARED)
def test_positional_call(name):
    loss = getattr(losses, name)()
    pred, target = arguments(name)
    weight = torch.tensor([1.0, 0, 2, 1, 1, 0.5])
    none = loss(pred, target, weight, None, 'none')
    rows = none.reshape(6, -1).sum(1)
    plain = loss(pred, target, None, None, 'none').reshape(6, -1).sum(1)
    torch.testing.assert_close(rows, plain * weight, rtol=1e-5, atol=1e-6)
    total = loss(pred, target, weight, None, 'sum')
    torch.testing.assert_close(total, rows.sum(), rtol=1e-5, atol=1e-6)
    averaged = loss(pred, target, weight, 5.0, 'mean')
    torch.testing.assert_close(averaged, total / 5, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        loss(pred, target, weight=weight, avg_factor=5.0, reduction_override='mean'), averaged
    )
    with pytest.raises(ValueError, match='avg_factor'):
        loss(pred, target, weight, 5.0, 'sum')
    with pytest.raises(ValueError, match='reduction'):
        loss(pred, target, weight, None, 'average')


def test_the_three_that_differ():
    """GHMC and Dice take reduction before avg_factor, GaussianFocal its peaks third."""
    order = {
        'GHMC': ['label_weight', 'reduction_override'],
        'DiceLoss': ['weight', 'reduction_override', 'avg_factor'],
        'GHMR': ['label_weight', 'avg_factor', 'reduction_override'],
        'GaussianFocalLoss': [
            'pos_inds', 'pos_labels', 'weight', 'avg_factor', 'reduction_override',
        ],
    }  # fmt: skip
    for name, want in order.items():
        names = list(inspect.signature(getattr(losses, name).forward).parameters)
        assert names[3 : 3 + len(want)] == want, name


@pytest.mark.parametrize('name', SHARED)
def test_integers_are_no_predictions(name):
    pred, target = arguments(name)
    with pytest.raises(ValueError, match=r'expected a floating point tensor, got torch\.int64'):
        getattr(losses, name)()(pred.long(), target)


@pytest.mark.parametrize(
    'build',
    [
        lambda: losses.IoULoss(mode='cubic'),
        lambda: losses.NWDLoss(mode='cubic'),
        lambda: losses.YOLOIoULoss(iou_mode='cubic'),
        lambda: losses.FocalLoss(activation='cubic'),
        lambda: losses.AssociativeEmbeddingLoss(form='cubic'),
        lambda: losses.L1Loss(reduction='cubic'),
    ],
)
def test_unknown_modes_state_both(build):
    with pytest.raises(ValueError, match=r"expected.*got.*'cubic'"):
        build()
