"""TOOD: aligned scores, sides read nearby, the assigner and losses of the first epochs."""

import pytest
import torch
from mmengine.logging import MessageHub

from registry_losses.coders import CornerBBoxCoder
from registry_losses.errors import ConfigError, PairingError
from registry_losses.heads import TOODHead
from registry_losses.heads.phases import InitialPhase
from registry_losses.registry import MODELS

PHASE = dict(
    assigner=dict(type='TaskAlignedAssigner'),
    initial_assigner=dict(type='ATSSAssigner'),
    initial_epoch=4,
)


def head(**options) -> TOODHead:
    node = dict(
        type='TOODHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=2),
        prior_generator=dict(type='AnchorGenerator', strides=[4, 8], ratios=[1.0], scales=[4]),
        initial_loss_cls=dict(type='FocalLoss'),
        loss_cls=dict(type='QualityFocalLoss'),
        loss_bbox=dict(type='GIoULoss'),
    )
    built = MODELS.build({**node, **options})
    built.init_weights()
    return built


FEATS = [torch.randn(1, 8, s, s, generator=torch.Generator().manual_seed(s)) for s in (6, 3)]


def test_a_score_is_the_geometric_mean_of_two_probabilities():
    # OpenMMLab's loss reads probabilities; the same node stands for logits here.
    built = head(initial_loss_cls=None, loss_cls=dict(type='QualityFocalLoss', activated=True))
    own, shared = torch.tensor([1.5, -2.0, 40.0, -90.0]), torch.tensor([-0.5, 3.0, 40.0, -90.0])
    own, shared = own.reshape(4, 1, 1, 1), shared.reshape(4, 1, 1, 1)
    found = built._logits(own, shared).flatten().sigmoid()
    expected = (own.double().sigmoid() * shared.double().sigmoid()).sqrt().flatten().tolist()
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert built._probabilities(own, shared).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_forward_gives_probabilities_and_raw_maps_what_the_loss_reads():
    built = head()
    raw, boxes = built.raw_maps(FEATS)
    scores, again = built(FEATS)
    assert torch.equal(boxes[0], again[0])
    torch.testing.assert_close(raw[0].sigmoid(), scores[0])
    with_softmax = head(initial_loss_cls=None, loss_cls=dict(type='CrossEntropyLoss'))
    found = with_softmax(FEATS)[0][0]
    assert found.shape[1] == 3
    torch.testing.assert_close(found.sum(dim=1), torch.ones_like(found[:, 0]))


def test_boxes_begin_at_those_of_their_anchors():
    built = head()
    built.reg_offset_module[-1].weight.data.zero_()
    built.tood_reg.weight.data.zero_()
    maps = built.raw_maps(FEATS)
    boxes, priors = maps[1], built.reader.priors(maps)
    flat = torch.cat([b.flatten(2).mT[0] for b in boxes])
    decoded = CornerBBoxCoder().decode(priors.centers, flat, stride=priors.strides)
    torch.testing.assert_close(decoded, priors.boxes, atol=1e-3, rtol=1e-5)
    based = head(anchor_type='anchor_based', bbox_coder=dict(type='DeltaXYWHBBoxCoder'))
    based.reg_offset_module[-1].weight.data.zero_()
    based.tood_reg.weight.data.zero_()
    flat = torch.cat([b.flatten(2).mT[0] for b in based.raw_maps(FEATS)[1]])
    decoded = CornerBBoxCoder().decode(priors.centers, flat, stride=priors.strides)
    torch.testing.assert_close(decoded, priors.boxes, atol=1e-3, rtol=1e-5)


def test_a_box_whose_sides_cross_stays_as_it_was():
    boxes = torch.tensor([0.0, 0, 2, 2]).reshape(1, 4, 1, 1).repeat(1, 1, 1, 2)
    boxes[..., 1] += 4
    offsets = torch.zeros(1, 8, 1, 2)
    offsets[0, 1, 0, 0] = 1  # the left side of the first from the second: beyond its right
    assert torch.equal(TOODHead._moved(boxes, offsets), boxes)
    offsets[0, 5, 0, 0] = 1  # and the right side too
    assert TOODHead._moved(boxes, offsets)[0, :, 0, 0].tolist() == [4, 0, 6, 2]


@pytest.mark.parametrize(
    ('until', 'info', 'first'),
    [
        (4, dict(epoch=3), True),
        (4, dict(epoch=4), False),
        (0.25, dict(iter=24, max_iters=100), True),
        (0.25, dict(iter=25, max_iters=100), False),
        (0.25, {}, False),  # no training: tools show the assigner of the rest
        (4, {}, False),
    ],
)
def test_the_first_epochs_have_their_own_assigner_and_losses(until, info, first):
    built = head(train_cfg=dict(PHASE, initial_epoch=until))
    hub = MessageHub.get_instance(f'tood {until} {info}')
    for key, value in info.items():
        hub.update_info(key, value)
    assert built.initial is not None and built.initial.is_on() is first
    cls, box = built.active_terms()
    assert cls.loss is (built.initial_loss_cls if first else built.loss_cls)
    assert box.pair_weight == ('centerness' if first else 'quality')
    built.epoch = 0
    assert built.initial.is_on()


def test_refusals():
    with pytest.raises(ConfigError, match='initial_epoch: expected how long'):
        InitialPhase.of(dict(initial_assigner=dict(type='ATSSAssigner')), 'TOODHead')
    with pytest.raises(ConfigError, match='one prior a cell'):
        head(prior_generator=dict(type='AnchorGenerator', strides=[4], ratios=[1, 2], scales=[4]))
    with pytest.raises(PairingError, match='initial_loss_cls: CrossEntropyLoss does not read'):
        head(initial_loss_cls=dict(type='CrossEntropyLoss'))
    with pytest.raises(ConfigError, match='expected a coder for anchor_based'):
        head(anchor_type='anchor_based')
    with pytest.raises(PairingError, match='loss_cls: SeesawLoss has num_classes=7'):
        softmax = dict(type='CrossEntropyLoss')
        seesaw = dict(type='SeesawLoss', num_classes=7)
        head(loss_cls=softmax, initial_loss_cls=seesaw, train_cfg=PHASE)
