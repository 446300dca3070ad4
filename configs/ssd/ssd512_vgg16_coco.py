# SSD512 on COCO (mmdet's ssd512_coco): as SSD300, with one more level and a smallest box of
# 4 % of the input (section 3.4 of the paper).
_base_ = ['./ssd300_vgg16_coco.py']

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
            basesize_ratio_range=(0.1, 0.9),
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

train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
