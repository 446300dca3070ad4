# COCO 2017 keypoints, all persons of an image at once; expects
# data/coco/{annotations,train2017,val2017}. Recipes set the pipelines' sizes.
_base_ = ['../parts/loaders.py']

dataset_type = 'CocoPoseDataset'
data_root = 'data/coco/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_keypoints=True),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='Pad', size=(512, 512), pad_val=(103.53, 116.28, 123.675)),
    # Nobody is dropped: who is cut in half is still a person.
    dict(
        type='RandomAffine',
        max_rotate_degree=30,
        max_translate_ratio=40 / 512,
        scaling_ratio_range=(0.75, 1.5),
        max_shear_degree=0,
        border_val=(103.53, 116.28, 123.675),
        min_bbox_size=0,
        min_area_ratio=0,
        max_aspect_ratio=1e6,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_keypoints=True),
    # The shorter side becomes 512.
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size=24,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/person_keypoints_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoKeypointMetric', ann_file=data_root + 'annotations/person_keypoints_val2017.json'
)
test_evaluator = val_evaluator
