"""YOLOX: boxes from corners, L1 in the last epochs only, scores that assigners see."""

import pytest
import torch

from registry_losses.coders import YOLOXBBoxCoder
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS
from registry_losses.structures import HeadOutput


def head(**options):
    return MODELS.build(
        dict(
            type='YOLOXHead',
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
            bbox_coder=dict(type='YOLOXBBoxCoder', from_corner=True),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='IoULoss', mode='square'),
            loss_obj=dict(type='CrossEntropyLoss', use_sigmoid=True),
            **options,
        )
    )


def test_boxes_are_coded_from_the_corner_of_the_cell():
    coder = YOLOXBBoxCoder(from_corner=True)
    centre = torch.tensor([[10.0, 6]])  # of the cell at (8, 4)
    box = coder.decode(centre, torch.zeros(1, 4), torch.tensor([4.0]))
    assert box.tolist() == [[6, 2, 10, 6]]
    assert torch.allclose(coder.encode(centre, box, stride=4), torch.zeros(1, 4), atol=1e-6)


def test_l1_takes_part_when_it_is_switched_on():
    plain = head()
    assert [term.name for term in plain.active_terms()] == ['loss_cls', 'loss_bbox', 'loss_obj']
    both = head(loss_l1=dict(type='L1Loss'))
    assert 'loss_l1' not in [term.name for term in both.active_terms()]
    both.use_l1 = True
    assert [term.name for term in both.active_terms()][-1] == 'loss_l1'
    with pytest.raises(ConfigError, match='needs loss_l1'):
        head(use_l1=True)


def test_assigners_see_the_geometric_mean_of_class_and_objectness():
    built = head()
    logit = torch.logit(torch.tensor(0.64))
    output = HeadOutput.of(
        {
            'cls': torch.full((1, 1, 2), float(logit)),
            'objectness': torch.logit(torch.full((1, 1, 1), 0.25)),
            'bbox': torch.zeros(1, 1, 4),
        }
    )
    priors = built.reader.priors([[torch.zeros(1, 2, 1, 1)]])
    assert built.reader.predictions(output, priors).scores.flatten().tolist() == pytest.approx(
        [0.4, 0.4]
    )
