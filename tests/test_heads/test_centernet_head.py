"""CenterNet by hand: centres that share a cell, peaks, decoded places and sizes."""

import pytest
import torch
from one_cell import feats, head, sample, set_bias


def centernet(**options):
    node = dict(
        num_classes=3,
        in_channels=4,
        feat_channels=4,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4], offset=0),
        bbox_coder=dict(type='CenterNetBBoxCoder'),
        loss_cls=dict(type='GaussianFocalLoss', use_sigmoid=True),
        loss_wh=dict(type='L1Loss', loss_weight=0.1),
        loss_offset=dict(type='L1Loss'),
        train_cfg=dict(assigner=dict(type='CenterNetAssigner')),
        test_cfg=dict(topk=10, local_maximum_kernel=3, max_per_img=10),
    )
    return head('CenterNetHead', **{**node, **options})


@pytest.mark.parametrize(('labels', 'count'), [([0, 1], 2), ([1, 1], 1)])
def test_the_last_gt_of_a_cell_is_learnt_and_each_class_counts(labels, count):
    built = centernet()
    set_bias(built.wh_head[-1], [0, 0])
    boxes = [[13, 13, 15, 15], [6, 10, 22, 18]]  # 2 x 2 and 16 x 8, one centre
    losses = built.loss(feats((8, 8), channels=4), [sample(boxes, labels, size=(32, 32))])
    assert losses['loss_wh'].item() == pytest.approx(0.1 * (16 / 4 + 8 / 4) / (2 * count))


def test_only_peaks_are_detected():
    """Of two neighbours of one class the higher stays; places and sizes in cells of 4 pixels."""
    built = centernet().eval()
    heat = torch.zeros(1, 3, 4, 4)
    heat[0, 1, 1, 1], heat[0, 1, 1, 2] = 0.9, 0.8
    size = torch.tensor([2.0, 1.0])[:, None, None].expand(1, 2, 4, 4)
    offset = torch.tensor([0.5, 0.25])[:, None, None].expand(1, 2, 4, 4)
    (found,) = built.predict_by_feat(
        [heat], [size], [offset], batch_img_metas=[dict(img_shape=(16, 16))]
    )
    assert found.scores[0].item() == pytest.approx(0.9)
    assert not found.scores[1:].any() and found.labels[0] == 1
    # Cell (1, 1) and its offset: the centre (6, 5), 8 pixels wide and 4 high.
    assert found.bboxes[0].tolist() == pytest.approx([2, 3, 10, 7])
