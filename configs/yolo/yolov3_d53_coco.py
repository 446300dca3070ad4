# YOLOv3 on COCO with mmdet's recipe (yolov3_d53_8xb8-ms-608-273e_coco): 273 epochs, batch 64
# (8 processes of 8), SGD 0.001, images between 320 and 608 pixels. The paper's assignment:
# yolov3_d53_paper_coco.py.
_base_ = [
    '../_base_/models/yolov3_d53.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

# The losses are sums over the images of a process, whose gradients DDP averages: the published
# rate belongs to 8 images a process, whatever their number.
_sum = dict(normalizer='rank_sum')
model = dict(
    bbox_head=dict(loss_terms=dict(loss_cls=_sum, loss_conf=_sum, loss_xy=_sum, loss_wh=_sum))
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Expand', mean=(0, 0, 0), ratio_range=(1, 2)),
    dict(type='MinIoURandomCrop', min_ious=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_crop_size=0.3),
    dict(type='RandomResize', scale=[(320, 320), (608, 608)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(608, 608), keep_ratio=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=273, val_interval=7)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', begin=0, end=273, by_epoch=True, milestones=[218, 246], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.001, momentum=0.9, weight_decay=0.0005),
    clip_grad=dict(max_norm=35, norm_type=2),
)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=7))
