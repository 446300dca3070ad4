# Handwritten digits on textured canvases: drawn under data/digits/ on first use.
_base_ = ['../parts/loaders_drawn.py']

dataset_type = 'DigitsDataset'
data_root = 'data/digits/'

train_pipeline = [
    dict(type='CachedLoadImage'),
    dict(type='LoadAnnotations'),
    # No flips: a mirrored digit is another sign.
    dict(type='RandomInvert', prob=0.5),
    dict(type='RandomChannelPermute'),
    dict(type='RandomBrightnessContrast', brightness=24, contrast=0.2, prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='CachedLoadImage'),
    dict(type='LoadAnnotations'),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    dataset=dict(type=dataset_type, split='train', data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        split='val',
        data_root=data_root,
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
