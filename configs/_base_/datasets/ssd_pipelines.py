# SSD's augmentation (section 2.2 of the paper) at 300 and at 512 pixels, for COCO and VOC.
_ssd300 = dict(
    train=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        # VGG's mean, in the order of the images as they are read, BGR.
        dict(type='Expand', mean=(103.53, 116.28, 123.675), ratio_range=(1, 4)),
        dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
        dict(type='Resize', scale=(300, 300), keep_ratio=False),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackDetInputs'),
    ],
    test=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='Resize', scale=(300, 300), keep_ratio=False),
        dict(type='PackDetInputs'),
    ],
)
_ssd512 = {
    name: [dict(step, scale=(512, 512)) if step['type'] == 'Resize' else step for step in steps]
    for name, steps in _ssd300.items()
}
ssd_pipelines = dict(ssd300=_ssd300, ssd512=_ssd512)
