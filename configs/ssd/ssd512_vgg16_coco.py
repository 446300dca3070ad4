# SSD512 on COCO (mmdet's ssd512_coco): as SSD300, with one more level and a smallest box of
# 4 % of the input (section 3.4 of the paper).
_base_ = ['./ssd300_vgg16_coco.py', '../_base_/parts/ssd512.py']

model = dict(
    neck=_base_.ssd512.neck,
    bbox_head=dict(
        in_channels=_base_.ssd512.neck.out_channels,
        prior_generator=dict(_base_.ssd512.prior_generator, basesize_ratio_range=(0.1, 0.9)),
    ),
)

train_pipeline, test_pipeline = _base_.ssd_pipelines.ssd512.train, _base_.ssd_pipelines.ssd512.test

train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
