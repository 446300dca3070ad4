# Puppets, one to three an image, drawn under data/puppets/ on first use.
_base_ = ['../parts/loaders_drawn.py']

dataset_type = 'PuppetsDataset'
data_root = 'data/puppets/'
_spec = dict(num_train=5000, num_val=200, image_size=128, max_persons=3)

train_pipeline = [
    dict(type='CachedLoadImage'),
    dict(type='LoadAnnotations', with_keypoints=True),
    # No flips, no change of hue: the colours of the limbs tell left from right.
    dict(type='RandomBrightnessContrast', brightness=24, contrast=0.2, prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='CachedLoadImage'),
    dict(type='LoadAnnotations', with_keypoints=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type, split='train', data_root=data_root, spec=_spec, pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        split='val',
        data_root=data_root,
        spec=_spec,
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoKeypointMetric', ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
