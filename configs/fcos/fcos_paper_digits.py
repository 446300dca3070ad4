# FCOS as first published, on handwritten digits (Tian et al., ICCV 2019): every point in
# a box is positive, the centreness branch beside the classes, boxes by the logarithm of
# their IoU. The config beside it has the later version's centre sampling, GIoU and
# centreness beside the boxes.
_base_ = ['./fcos_tiny_digits.py']

model = dict(
    bbox_head=dict(
        centerness_on_reg=False,
        loss_bbox=dict(_delete_=True, type='IoULoss', mode='log'),
    ),
    train_cfg=dict(assigner=dict(center_sampling=False)),
)
