"""YOLOv3 and YOLOv5 by hand: what ranks a candidate, few objects at first, late clipping."""

import pytest
import torch
from one_cell import feats, head, logit, set_bias

from registry_losses.errors import ConfigError

SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)


def anchors(*sizes, strides=(8,)):
    return dict(type='YOLOAnchorGenerator', base_sizes=[list(sizes)], strides=list(strides))


def yolov3(**options):
    node = dict(
        in_channels=[1],
        out_channels=[1],
        prior_generator=anchors((8, 8)),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        loss_cls=SIGMOID,
        loss_conf=SIGMOID,
        loss_xy=SIGMOID,
        loss_wh=dict(type='MSELoss'),
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), score_thr=0.3),
    )
    return head('YOLOV3Head', **{**node, **options}).eval()


def yolov5(**options):
    node = dict(
        in_channels=[1],
        prior_generator=anchors((8, 8)),
        bbox_coder=dict(type='YOLOV5BBoxCoder'),
        loss_cls=SIGMOID,
        loss_obj=SIGMOID,
        loss_bbox=dict(type='YOLOIoULoss'),
        obj_level_weights=(1.0,),
        test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), score_thr=0.3),
    )
    return head('YOLOV5Head', **{**node, **options}).eval()


@pytest.mark.parametrize(('make', 'stays'), [(yolov3, True), (yolov5, False)])
def test_whether_objectness_takes_part_in_the_threshold(make, stays):
    """Class 0.5, objectness 0.4: the class reaches 0.3, their product 0.2 does not."""
    built = make()
    conv = built.convs_pred[0] if stays else built.head_module['convs_pred'][0]
    set_bias(conv, [0, 0, 0, 0, logit(0.4), logit(0.5), logit(0.1)])
    (found,) = built.predict_by_feat(
        *built(feats((1, 1))), batch_img_metas=[dict(img_shape=(8, 8))]
    )
    assert found.scores.tolist() == pytest.approx([0.2] if stays else [])
    assert found.labels.tolist() == ([0] if stays else [])


def test_a_single_class_has_no_term_and_the_objectness_is_the_score():
    """The original: its class output learns nothing then; an option keeps the term."""
    plain, kept = yolov5(num_classes=1), yolov5(num_classes=1, single_class_loss=True)
    assert [t.name for t in plain.loss_terms] == ['loss_obj', 'loss_bbox']
    assert [t.name for t in kept.loss_terms] == ['loss_cls', 'loss_obj', 'loss_bbox']
    assert [t.name for t in yolov5().loss_terms] == ['loss_cls', 'loss_obj', 'loss_bbox']
    for built, score in ((plain, 0.7), (kept, 0.7 * 0.6)):
        set_bias(built.head_module['convs_pred'][0], [0, 0, 0, 0, logit(0.7), logit(0.6)])
        (found,) = built.predict_by_feat(
            *built(feats((1, 1))), batch_img_metas=[dict(img_shape=(8, 8))]
        )
        assert found.scores.tolist() == pytest.approx([score])
        assert found.labels.tolist() == [0]


@pytest.mark.parametrize('make', [yolov3, yolov5])
def test_a_level_expects_eight_objects_at_first(make):
    built = make()
    built.init_weights()
    conv = built.convs_pred[0] if make is yolov3 else built.head_module['convs_pred'][0]
    assert conv.bias[4].sigmoid().item() == pytest.approx(8 / (640 / 8) ** 2)
    assert conv.bias[5:].sigmoid().tolist() == pytest.approx([0.01] * 2)


@pytest.mark.parametrize(('make', 'name'), [(yolov3, 'loss_conf'), (yolov5, 'loss_obj')])
def test_an_objectness_read_as_it_is_starts_at_the_probability(make, name):
    """A logit of -7 would be clamped to 0, where there is no gradient."""
    built = make(**{name: dict(type='L2Loss')})
    built.init_weights()
    conv = built.convs_pred[0] if make is yolov3 else built.head_module['convs_pred'][0]
    assert conv.bias[4].item() == pytest.approx(8 / (640 / 8) ** 2)


def test_whole_boxes_take_the_place_of_centres_and_sizes():
    names = [term.name for term in yolov3(loss_bbox=dict(type='CIoULoss')).loss_terms]
    assert names == ['loss_cls', 'loss_conf', 'loss_bbox']
    assert [term.columns for term in yolov3().loss_terms[2:]] == [(0, 2), (2, 4)]


def test_yolov5_suppresses_before_it_clips():
    """Two boxes that are one inside the image and two beyond it both stay."""
    built = yolov5(num_classes=1, in_channels=[4], prior_generator=anchors((8, 8), (40, 40)))
    raw = torch.full((1, 2, 6, 2, 2), -9.0)
    raw[0, :, 4:, 0, 0] = 9.0  # both anchors of the first cell
    raw[0, 0, :4, 0, 0] = 9.0  # 32 x 32
    raw[0, 1, :4, 0, 0] = 9.0  # 160 x 160 around the same centre
    (found,) = built.predict_by_feat(
        [raw.flatten(1, 2)], batch_img_metas=[dict(img_shape=(16, 16))]
    )
    assert torch.equal(found.bboxes, torch.tensor([[0.0, 0, 16, 16]]).expand(2, 4))


def test_a_map_for_every_level():
    with pytest.raises(ConfigError, match='2 in_channels, 1 levels of anchors'):
        yolov5(in_channels=[1, 1])
