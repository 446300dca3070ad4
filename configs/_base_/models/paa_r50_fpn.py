# PAA, ResNet-50 and FPN (Kim and Lee 2020).
_base_ = ['./atss_r50_fpn.py']

model = dict(
    bbox_head=dict(
        type='PAAHead',
        score_voting=True,
        bbox_coder=dict(_delete_=True, type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(loss_weight=1.3),
        loss_centerness=dict(loss_weight=0.5),
    ),
    train_cfg=dict(assigner=dict(type='PAAAssigner')),
)
