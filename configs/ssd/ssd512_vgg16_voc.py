# SSD512 on PASCAL VOC 2007 and 2012 (mmdet's ssd512_voc0712): as SSD300, with one more level
# and a smallest box of 7 % of the input (section 3.1 of the paper).
_base_ = ['./ssd300_vgg16_voc.py', '../_base_/parts/ssd512.py']

model = dict(
    neck=_base_.ssd512.neck,
    bbox_head=dict(
        in_channels=_base_.ssd512.neck.out_channels,
        prior_generator=dict(_base_.ssd512.prior_generator, basesize_ratio_range=(0.15, 0.9)),
    ),
)

train_pipeline, test_pipeline = _base_.ssd_pipelines.ssd512.train, _base_.ssd_pipelines.ssd512.test

# A list cannot be changed in part: each of the data sets stands here again.
_parts = _base_.train_dataloader.dataset.dataset.datasets
train_dataloader = dict(
    dataset=dict(dataset=dict(datasets=[dict(part, pipeline=train_pipeline) for part in _parts]))
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
