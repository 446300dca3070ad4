# SSD300 on PASCAL VOC 2007 and 2012 with mmdet's recipe (ssd300_voc0712): 24 epochs of 10
# rounds each, batch 64 (8 processes of 8), SGD 0.001; tested on VOC 2007. The smallest box
# is 10 % of the input (section 3.1 of the paper). The paper's own matching and schedule:
# ssd300_vgg16_paper_voc.py.
_base_ = [
    '../_base_/models/ssd300_vgg16.py',
    '../_base_/datasets/voc0712.py',
    '../_base_/datasets/ssd_pipelines.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(bbox_head=dict(num_classes=20, prior_generator=dict(basesize_ratio_range=(0.2, 0.9))))

train_pipeline, test_pipeline = _base_.ssd_pipelines.ssd300.train, _base_.ssd_pipelines.ssd300.test

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        # Ten rounds count as an epoch: VOC is small.
        type='RepeatDataset',
        times=10,
        dataset=dict(
            type='ConcatDataset',
            datasets=[
                dict(part, pipeline=train_pipeline)
                for part in _base_.train_dataloader.dataset.datasets
            ],
        ),
    ),
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 20], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.001, momentum=0.9, weight_decay=0.0005))
auto_scale_lr = dict(base_batch_size=64)
