# Faster R-CNN with FPN on PASCAL VOC 2007 and 2012, tested on VOC 2007, with the recipe of mmdet's
# faster-rcnn_r50_fpn_1x_voc0712: 4 epochs of 3 rounds each, batch 16 (8 processes of 2), SGD 0.01.
_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn.py',
    '../_base_/datasets/voc0712.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))

train_dataloader = dict(
    # Three rounds count as an epoch: VOC is small.
    dataset=dict(
        _delete_=True, type='RepeatDataset', times=3, dataset=_base_.train_dataloader.dataset
    )
)

train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.01))
