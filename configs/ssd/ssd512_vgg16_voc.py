# SSD512 on PASCAL VOC 2007 and 2012 (mmdet's ssd512_voc0712): as SSD300, with one more level
# and a smallest box of 7 % of the input (section 3.1 of the paper).
_base_ = ['./ssd300_vgg16_voc.py']

model = dict(
    neck=dict(
        out_channels=(512, 1024, 512, 256, 256, 256, 256),
        level_strides=(2, 2, 2, 2, 1),
        level_paddings=(1, 1, 1, 1, 1),
        last_kernel_size=4,
    ),
    bbox_head=dict(
        in_channels=(512, 1024, 512, 256, 256, 256, 256),
        prior_generator=dict(
            input_size=512,
            basesize_ratio_range=(0.15, 0.9),
            strides=[8, 16, 32, 64, 128, 256, 512],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
        ),
    ),
)

_size = (512, 512)
train_pipeline = [
    dict(step, scale=_size) if step['type'] == 'Resize' else step
    for step in _base_.ssd_pipelines.train
]
test_pipeline = [
    dict(step, scale=_size) if step['type'] == 'Resize' else step
    for step in _base_.ssd_pipelines.test
]

# A list cannot be changed in part, so the data sets stand here once more.
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                dict(
                    type='VOCDataset',
                    data_root='data/VOCdevkit/',
                    ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root=f'VOC{year}/'),
                    filter_cfg=dict(filter_empty_gt=True, min_size=32),
                    pipeline=train_pipeline,
                )
                for year in (2007, 2012)
            ]
        )
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
