# CenterNet, ResNet-18 with deconvolutions (Zhou et al. 2019).
_base_ = ['../parts/imagenet.py']

model = dict(
    type='SingleStageDetector',
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(3,),
        norm_eval=False,
        norm_cfg=dict(type='BN'),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth',
        ),
    ),
    neck=dict(
        type='CTResNetNeck',
        in_channels=512,
        num_deconv_filters=(256, 128, 64),
        num_deconv_kernels=(4, 4, 4),
        use_dcn=False,
    ),
    bbox_head=dict(
        type='CenterNetHead',
        num_classes=80,
        in_channels=64,
        feat_channels=64,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4], offset=0),
        # The common implementation does not clip boxes to the image.
        bbox_coder=dict(type='CenterNetBBoxCoder', clip_border=False),
        loss_cls=dict(type='GaussianFocalLoss', use_sigmoid=True, loss_weight=1.0),
        loss_wh=dict(type='L1Loss', loss_weight=0.1),
        loss_offset=dict(type='L1Loss', loss_weight=1.0),
    ),
    # The paper takes CornerNet's overlap of 0.7; the common implementation 0.3.
    train_cfg=dict(assigner=dict(type='CenterNetAssigner', min_overlap=0.3)),
    test_cfg=dict(topk=100, local_maximum_kernel=3, max_per_img=100),
)
