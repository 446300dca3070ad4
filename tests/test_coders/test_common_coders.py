"""All coders: inverses, the reachable set, degenerate boxes, strides, half precision."""

import copy

import pytest
import torch
from coder_table import CODERS, make
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.coders import (
    BaseBBoxCoder,
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    YOLOBBoxCoder,
    YOLOV1BBoxCoder,
)
from registry_losses.errors import ConfigError, ShapeError

CONFINED = [
    'distance_exp', 'distance_bins', 'yolo', 'yolo_wide', 'yolov5', 'yolov1_sigmoid',
]  # fmt: skip


position = st.floats(-40, 440, width=32)


side = st.floats(1, 300, width=32)


def reference_of(coder, boxes):
    return boxes if coder.reference == 'boxes' else (boxes[:, :2] + boxes[:, 2:]) / 2


@settings(max_examples=60, deadline=None)
@given(
    prior=st.tuples(position, position, side, side), gt=st.tuples(position, position, side, side)
)
@pytest.mark.parametrize('name', CODERS)
def test_inverse_inside_the_reachable_set_and_clamped_into_it_outside(name, prior, gt):
    coder = CODERS[name]
    prior, gt = make(*prior), make(*gt)
    reference, stride = reference_of(coder, prior), torch.tensor([[16.0, 8.0]])
    encoded = coder.encode(reference, gt, stride=stride)
    decoded = coder.decode(reference, encoded, stride=stride)
    assert encoded.shape == (1, 4)
    low, high = (torch.tensor(bound) for bound in coder.bounds())
    if coder.reachable(reference, gt, stride).item():
        torch.testing.assert_close(decoded, gt, rtol=1e-4, atol=2e-2)
        assert (encoded >= low).all() and (encoded <= high).all()
    elif name in CONFINED:
        assert (encoded >= low).all() and (encoded <= high).all()
        assert ((encoded == low) | (encoded == high)).any()


@settings(max_examples=40, deadline=None)
@given(
    prior=st.tuples(position, position, side, side),
    encoded=st.lists(st.integers(1, 99).map(lambda i: i / 100), min_size=4, max_size=4),
)
@pytest.mark.parametrize('name', [name for name in CODERS if name != 'delta_ctr'])
def test_encode_undoes_decode(name, prior, encoded):
    coder, prior = CODERS[name], make(*prior)
    reference, stride = reference_of(coder, prior), torch.tensor([16.0])
    encoded = torch.tensor([encoded])
    back = coder.encode(reference, coder.decode(reference, encoded, stride=stride), stride=stride)
    # Coordinates of hundreds of pixels round at 3e-5: a part of 1e-2 of the smallest side.
    torch.testing.assert_close(back, encoded, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize('name', CODERS)
def test_the_share_that_can_be_reached(name):
    """By hand: stride 16, prior 32 x 32 at (100, 100)."""
    coder = CODERS[name]
    prior, stride = make(100.0, 100, 32, 32), torch.tensor([16.0])
    reference = reference_of(coder, prior)

    def reaches(*gt):
        return coder.reachable(reference, make(*gt), stride).item()

    assert reaches(101.0, 99, 30, 40)
    away = {'distance_exp', 'distance_bins', 'yolo', 'yolo_wide', 'yolov5', 'yolov1_sigmoid'}
    assert reaches(140.0, 100, 32, 32) == (name not in away | {'delta_ctr'})
    beside = {'yolo', 'yolo_wide', 'yolov1_sigmoid'}  # 10 px: another cell
    assert reaches(110.0, 100, 32, 32) == (name not in beside)
    assert reaches(109.0, 100, 32, 32) == (name not in beside - {'yolo_wide'})
    large = {'yolov5', 'distance_bins', 'yolov1_sigmoid'}
    assert reaches(100.0, 100, 600, 600) == (name not in large)
    huge = large | {'delta', 'delta_stds', 'delta_ctr'}  # 32 * 62.5 = 2000
    assert reaches(100.0, 100, 2100, 20) == (name not in huge)


degenerate = st.sampled_from(
    [(0.0, 0, 0, 0), (5.0, 5, 5, 9), (9.0, 9, 3, 2), (1e6, 1e6, 2e6, 2e6), (3.0, 3, 3, 3.0000002)]
)


@settings(max_examples=25, deadline=None)
@given(prior=degenerate, gt=degenerate, raw=st.sampled_from([0.0, 1e4, -1e4, 60.0]))
@pytest.mark.parametrize('name', CODERS)
def test_finite_for_degenerate_boxes_and_extreme_outputs(name, prior, gt, raw):
    coder = CODERS[name]
    prior, gt = torch.tensor([prior]).float(), torch.tensor([gt]).float()
    reference, stride = reference_of(coder, prior), torch.tensor([16.0])
    assert torch.isfinite(coder.encode(reference, gt, stride=stride)).all()
    output = torch.full((1, 4), raw, requires_grad=True)
    decoded = coder.decode(reference, coder.activate(output), stride=stride)
    decoded.sum().backward()
    assert torch.isfinite(decoded).all()
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize('name', CODERS)
def test_batches_strides_and_clipping(name):
    coder = CODERS[name]
    generator = torch.Generator().manual_seed(0)
    boxes = (torch.rand(7, 4, generator=generator) * 30).cumsum(-1)
    reference = reference_of(coder, boxes)
    pred = torch.rand(2, 7, 4, generator=generator)
    strides = torch.tensor([8.0, 8, 8, 16, 16, 32, 32])
    pairs = strides[:, None].expand(-1, 2)
    each = torch.stack([coder.decode(reference, p, stride=strides) for p in pred])
    assert torch.equal(coder.decode(reference, pred, stride=strides), each)
    assert torch.equal(coder.decode(reference, pred, stride=pairs), each)
    batched = coder.decode(reference.expand(2, -1, -1), pred, stride=pairs.expand(2, -1, -1))
    assert torch.equal(batched, each)
    assert torch.equal(coder.decode(reference.expand(2, -1, -1), pred, stride=pairs), each)
    clipped = coder.decode(
        reference, pred, max_shape=torch.tensor([[20, 50], [90, 10]]), stride=strides
    )
    limits = torch.tensor([[50.0, 20, 50, 20], [10, 90, 10, 90]])[:, None]
    assert torch.equal(clipped, torch.minimum(each.clamp(min=0), limits))


@pytest.mark.parametrize('name', CODERS)
def test_half_precision_outputs_are_decoded_in_float32(name):
    coder, boxes = CODERS[name], make(1000.0, 1000, 20, 20)
    reference = reference_of(coder, boxes)
    decoded = coder.decode(reference, torch.full((1, 4), 0.25).bfloat16(), stride=16.0)
    assert decoded.dtype == torch.float32
    assert torch.equal(decoded, coder.decode(reference, torch.full((1, 4), 0.25), stride=16.0))


def test_activations():
    raw = torch.tensor([[-1.0, 0, 2, 3]])
    sigmoid = torch.sigmoid(raw)
    assert CODERS['delta'].activate(raw) is raw
    assert torch.equal(CODERS['yolo'].activate(raw)[:, :2], sigmoid[:, :2])
    assert torch.equal(CODERS['yolo'].activate(raw)[:, 2:], raw[:, 2:])
    assert torch.equal(CODERS['yolov5'].activate(raw), sigmoid)
    assert torch.equal(CODERS['yolov1_sigmoid'].activate(raw), sigmoid)
    assert torch.equal(CODERS['distance_exp'].activate(raw), raw.exp())
    relu = DistancePointBBoxCoder(activation='relu')
    assert torch.equal(relu.activate(raw), raw.relu())
    plus = DistancePointBBoxCoder(activation='softplus')
    torch.testing.assert_close(plus.activate(raw), (1 + raw.exp()).log())


def test_no_device_tensor_travels_with_a_copy():
    coder = DeltaXYWHBBoxCoder()
    coder.encode(make(1.0, 1, 2, 2), make(1.0, 1, 2, 2))
    assert coder._constants
    assert not copy.deepcopy(coder)._constants


def test_errors():
    with pytest.raises(ConfigError, match='plain tensors'):
        DeltaXYWHBBoxCoder(use_box_type=True)
    with pytest.raises(ConfigError, match='activation'):
        DistancePointBBoxCoder(activation='tanh')
    with pytest.raises(ConfigError, match='activation'):
        YOLOV1BBoxCoder(activation='relu')
    with pytest.raises(ShapeError, match='needs stride='):
        YOLOBBoxCoder().encode(make(1.0, 1, 2, 2), make(1.0, 1, 2, 2))
    with pytest.raises(TypeError):
        BaseBBoxCoder()
