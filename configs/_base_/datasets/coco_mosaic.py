# COCO as recipes with mosaic take it: images without an object take part, tests see squares of
# 640 pixels. Each recipe writes its own train_pipeline.
_base_ = ['./coco_detection.py']

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='LetterResize', scale=(640, 640), pad_val=114),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(filter_cfg=dict(filter_empty_gt=False)),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
