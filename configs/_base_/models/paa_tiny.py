# PAA for a CPU: one anchor a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./atss_tiny.py']

model = dict(
    bbox_head=dict(
        type='PAAHead',
        loss_bbox=dict(loss_weight=1.3),
        loss_centerness=dict(loss_weight=0.5),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='PAAAssigner', topk=9)),
)
