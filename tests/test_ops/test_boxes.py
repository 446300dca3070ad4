import pytest
import torch

from registry_losses.errors import ShapeError
from registry_losses.ops import box_area, clip_boxes, cxcywh_to_xyxy, xyxy_to_cxcywh


def test_area_of_ordinary_empty_and_inverted_boxes():
    boxes = torch.tensor([[1.0, 2, 4, 6], [3, 3, 3, 9], [5, 5, 2, 2], [5, 0, 2, 4]])
    assert box_area(boxes).tolist() == [12, 0, 0, 0]


def test_formats_are_inverses():
    boxes = torch.tensor([[1.0, 2, 4, 6], [0, 0, 10, 2]])
    assert xyxy_to_cxcywh(boxes).tolist() == [[2.5, 4, 3, 4], [5, 1, 10, 2]]
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


@pytest.mark.parametrize('kind', ['pair', 'tensor', 'rows'])
def test_clip(kind):
    boxes = torch.tensor([[-5.0, -6, 30, 40], [3, 4, 5, 6], [50, 50, 60, 60]])
    inside = [[0, 0, 20, 10], [3, 4, 5, 6], [20, 10, 20, 10]]
    if kind == 'pair':
        assert clip_boxes(boxes, (10, 20)).tolist() == inside
    elif kind == 'tensor':
        assert clip_boxes(boxes, torch.tensor([10, 20])).tolist() == inside
    else:
        shapes = torch.tensor([[10, 20], [100, 7]])
        clipped = clip_boxes(boxes.expand(2, 3, 4), shapes)
        assert clipped[0].tolist() == inside
        assert clipped[1].tolist() == [[0, 0, 7, 40], [3, 4, 5, 6], [7, 50, 7, 60]]
        assert torch.equal(clip_boxes(boxes.expand(2, 3, 4), [(10, 20), (100, 7)]), clipped)


def test_clip_leaves_boxes_alone_without_a_shape():
    boxes = torch.tensor([[-5.0, -6, 30, 40]])
    assert clip_boxes(boxes, None) is boxes


def test_clip_refuses_another_number_of_images():
    with pytest.raises(ShapeError, match='2 images'):
        clip_boxes(torch.zeros(3, 5, 4), torch.ones(2, 2))
    with pytest.raises(ShapeError, match='2 images'):
        clip_boxes(torch.zeros(5, 4), torch.ones(2, 2))
