"""What every dense head does: which priors take part."""

import torch

from registry_losses.heads import RetinaHead
from registry_losses.structures import GroundTruth


def test_allowed_border_counts_from_the_content_of_each_image():
    """Anchors that cross the border take no part, also where no image is padded."""
    head = RetinaHead(
        2,
        4,
        feat_channels=4,
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[2.0]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
            allowed_border=0,
        ),
    ).train()
    sizes = [(32, 32), (32, 16)]
    gt = GroundTruth.from_lists(
        [torch.tensor([[4.0, 4, 20, 20]])] * 2, [torch.zeros(1).long()] * 2, sizes
    )
    priors = head.loss_inputs(head([torch.zeros(2, 4, 4, 4)]), gt).priors
    boxes = priors.boxes
    for image, (height, width) in enumerate(sizes):
        inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
        assert torch.equal(priors.valid[image], inside)
        assert image or 0 < inside.sum() < len(inside)
