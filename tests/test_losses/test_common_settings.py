"""Settings of all losses: their ranges, their errors, the types they may have."""

import inspect

import numpy as np
import pytest
import torch

import registry_losses.losses as losses
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

REGISTERED = {
    name: cls
    for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('registry_losses.losses.')
}


ANY_NUMBER = [float('nan'), float('inf'), '2', [1.0], True, None, {}]


NUMBER = [*ANY_NUMBER, -1, -0.5]


PER_CLASS = ['x', [[1.0]], [-1.0], [float('nan')], ['a'], 2.0]


# Beyond what a setting's default tells: name of the setting (of a loss) to more bad values.
MORE = {
    'eps': [0],
    'AlphaIoULoss.alpha': [0],
    'WiseIoULoss.alpha': [1],
    'delta': [0],
    'ratio': [0],
    'focus': [0],
    'EqualizedFocalLoss.gamma': [0],
    'EqualizedFocalLoss.alpha': [1.5],
    'image_size': [None, 640, (640,), (640, 0), 'ab', (1, 2, 3)],
    'loss_weight': [-2],
    'FocalLoss.alpha': [3, 1.01, -2, [0.5, 1.5]],
    'PolyLoss.alpha': [3, [0.5, -0.5]],
    'clip': [1, 1.5],
    'momentum': [1.5],
    'GHMC.momentum': [1],
    'GHMR.momentum': [1],
    'label_smoothing': [1, 2],
    'bins': [0, 2.5],
    'topk': [0, 2.5],
    'num_classes': [0, 2.5],
    'SeesawLoss.eps': [1.5],
    'GHMR.mu': [0],
    'constant': [0],
    'smooth_point': [0],
    'BoundedIoULoss.beta': [0],
    'BalancedL1Loss.beta': [0],
    'BalancedL1Loss.alpha': [0],
    'BalancedL1Loss.gamma': [0],
    'AdaptiveWingLoss.alpha': [1],
    'omega': [0],
    'epsilon': [],
    'theta': [0],
    'corner_sigma': [0],
    'sigmas': [None, 1.0, 'x', [], [0.0], [-1.0], ['x']],
    'sigma': [0, -1, 'x', [1.0], float('nan')],
    'alpha': [],
    'ignore_index': [1.5, 'x', True],
    'use_mask': [True],
    'activation': ['cubic', 2],
}


# Any finite number will do; None means something; there is one value alone.
SIGNED = {'PolyLoss.epsilon', 'EQLV2Loss.mu'}


SIGNED |= {'L2Loss.neg_pos_ub', 'L2Loss.pos_margin', 'L2Loss.neg_margin'}


OPTIONAL = {'FocalLoss.alpha', 'PolyLoss.alpha'}


# -1 means no balance, as in torchvision.
MINUS_ONE = OPTIONAL


LISTS = {'FocalLoss.alpha', 'PolyLoss.alpha'}


SETTINGS = [
    (name, parameter.name)
    for name, cls in REGISTERED.items()
    for parameter in inspect.signature(cls.__init__).parameters.values()
    if parameter.name != 'self'
]


def bad_values(name, setting, default):
    full = f'{name}.{setting}'
    bad = list(MORE.get(full, MORE.get(setting, [])))
    if setting == 'class_weight':
        return PER_CLASS
    if isinstance(default, bool):
        bad += [2.0, 'yes', None, 1]
    elif isinstance(default, (int, float)) or full in OPTIONAL:
        bad += ANY_NUMBER if full in SIGNED else NUMBER
        if full in LISTS:
            bad.remove([1.0])
        if full in OPTIONAL:
            bad.remove(None)
        if full in MINUS_ONE:
            bad.remove(-1)
    elif isinstance(default, str):
        bad += ['cubic', 2]
    elif setting == 'use_sigmoid':  # None chooses by the target
        bad += [2.0, 'yes']
    return bad


@pytest.mark.parametrize(('name', 'setting'), SETTINGS)
def test_a_setting_out_of_its_range(name, setting):
    cls = REGISTERED[name]
    default = inspect.signature(cls.__init__).parameters[setting].default
    bad = bad_values(name, setting, default)
    assert bad, f'{name}.{setting}: say in MORE what is refused'
    for value in bad:
        with pytest.raises(ConfigError, match=r'(?s)expected.*got') as caught:
            cls(**{setting: value})
        assert setting in str(caught.value)


@pytest.mark.parametrize(
    'build',
    [
        lambda: losses.FocalLoss(False, alpha=-2),
        lambda: losses.FocalLoss(False, alpha=[0.5, -1]),
        lambda: losses.FocalLoss(False, activated=True),
        lambda: losses.FocalLoss(0.25, 2.0),
        lambda: losses.QualityFocalLoss(False),
        lambda: losses.VarifocalLoss(False),
        lambda: losses.AsymmetricLoss(use_sigmoid=False),
        lambda: losses.GHMC(use_sigmoid=False),
        lambda: losses.DiceLoss(False),
        lambda: losses.SeesawLoss(True),
        lambda: losses.SeesawLoss(num_classes=3, class_weight=[1.0, 2.0]),
        lambda: losses.IoULoss(mode='giou'),
        lambda: losses.CrossEntropyLoss(class_weight='weights.json'),
    ],
)
def test_combinations(build):
    with pytest.raises(ValueError, match=r'(?s)expected.*got'):
        build()


def test_good_settings_of_other_types():
    """NumPy's numbers and arrays, tensors and tuples serve as lists do."""
    x, labels = torch.randn(4, 3), torch.tensor([0, 3, 2, 1])
    want = losses.FocalLoss(gamma=1.5, alpha=[0.25, 0.5, 1.0], class_weight=[2.0, 1.0, 0.5])
    weights = (np.array([2.0, 1.0, 0.5]), torch.tensor([2.0, 1.0, 0.5]), (2, 1, 0.5))
    for class_weight in weights:
        alpha = type(class_weight)((0.25, 0.5, 1.0)) if isinstance(class_weight, tuple) else None
        alpha = torch.tensor([0.25, 0.5, 1.0]) if alpha is None else alpha
        loss = losses.FocalLoss(gamma=np.float32(1.5), alpha=alpha, class_weight=class_weight)
        torch.testing.assert_close(loss(x, labels), want(x, labels))
    assert losses.FocalLoss(alpha=np.float64(0.5)).alpha == 0.5


def test_errors_are_those_that_callers_catch():
    """ValueError everywhere; AssertionError and NotImplementedError where OpenMMLab has them."""
    pred = torch.rand(10, 4)
    for cls in (losses.L1Loss, losses.GIoULoss, losses.DiceLoss, losses.GHMC, losses.GHMR):
        for kind in (AssertionError, ValueError):
            with pytest.raises(kind, match='reduction: expected'):
                cls()(pred, pred, reduction_override=True)
            with pytest.raises(kind, match='weight: expected'):
                cls()(pred, pred, torch.rand(2, 8))
    with pytest.raises(NotImplementedError, match='use_sigmoid: expected'):
        losses.DiceLoss(use_sigmoid=False)
    with pytest.raises(AssertionError, match='use_sigmoid: expected'):
        losses.VarifocalLoss(use_sigmoid=False)
