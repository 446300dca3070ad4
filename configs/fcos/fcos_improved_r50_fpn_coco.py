# FCOS with its authors' later improvements (arXiv:1904.01355v5, and mmdet's
# fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco): points only within
# 1.5 strides of the centre, distances in strides, centreness beside the boxes, GIoU.
_base_ = ['./fcos_r50_fpn_coco.py']

model = dict(
    # The later weights of the backbone, and the mean they were trained with.
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675]),
    backbone=dict(init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe')),
    bbox_head=dict(
        norm_on_bbox=True,
        centerness_on_reg=True,
        conv_bias=True,
        bbox_coder=dict(normalize_by_stride=True),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(center_sampling=True, center_sample_radius=1.5)),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(clip_grad=None)
