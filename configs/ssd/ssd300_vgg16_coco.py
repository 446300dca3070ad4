# SSD300 on COCO with mmdet's recipe (ssd300_coco): 24 epochs of 5 rounds each, batch 64 (8
# processes of 8), SGD 0.002. The paper's own matching and schedule: ssd300_vgg16_paper_coco.py.
_base_ = [
    '../_base_/models/ssd300_vgg16.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/datasets/ssd_pipelines.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

train_pipeline, test_pipeline = _base_.ssd_pipelines.ssd300.train, _base_.ssd_pipelines.ssd300.test

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        # Five rounds count as an epoch, so that workers and checkpoints are not renewed as often.
        type='RepeatDataset',
        times=5,
        dataset=dict(_base_.train_dataloader.dataset, pipeline=train_pipeline),
    ),
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.002, momentum=0.9, weight_decay=0.0005))
auto_scale_lr = dict(base_batch_size=64)
