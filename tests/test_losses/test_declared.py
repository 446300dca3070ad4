"""What losses declare, and what follows for those of other packages."""

import pytest
from torch import nn

import registry_losses.losses as losses
from registry_losses.losses.declared import declared


def foreign(name, **attributes):
    """A loss of another package: a bare module of that name."""
    loss = type(name, (nn.Module,), {})()
    for key, value in attributes.items():
        setattr(loss, key, value)
    return loss


def test_losses_of_this_package():
    soft = declared(losses.CrossEntropyLoss())
    assert soft.activation == 'softmax' and soft.needs_background and soft.one_label
    focal = declared(losses.FocalLoss(reduction='sum', loss_weight=2.0))
    assert (focal.activation, focal.target_format) == ('sigmoid', 'sparse')
    assert (focal.reduction, focal.loss_weight) == ('sum', 2.0)
    assert focal.reads_logits and not focal.one_label and not focal.needs_background
    assert declared(losses.SeesawLoss(num_classes=7)).num_classes == 7
    assert declared(losses.L1Loss()).num_classes is None
    assert declared(losses.GIoULoss()).kinds == ('box_decoded',)


@pytest.mark.parametrize('name', ['GIoULoss', 'CIoULoss', 'IoULoss', 'MyWiseIOULoss'])
def test_the_iou_family_is_known_by_name(name):
    assert declared(foreign(name)).kinds == ('box_decoded',)


def test_other_foreign_losses():
    for name in ('L1Loss', 'SmoothL1Loss', 'GHMR'):
        assert declared(foreign(name)).kinds == ('box_encoded',)
    unknown = declared(foreign('GaussianNLL'))
    assert unknown.kinds is None and unknown.activation is None
    assert unknown.class_activation == 'sigmoid' and not unknown.reads_logits
    assert unknown.target_format == 'labels' and unknown.reduction == 'mean'
    soft = declared(foreign('CrossEntropyLoss', use_sigmoid=False))
    assert soft.activation == 'softmax' and soft.needs_background
    assert declared(foreign('CrossEntropyLoss', use_sigmoid=True)).reads_logits
    assert declared(foreign('QualityFocalLoss', use_sigmoid=True)).target_format == 'label_score'
    # A layer of that name is no declaration.
    assert declared(foreign('MyLoss', activation=nn.ReLU())).activation is None
