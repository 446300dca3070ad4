# OpenPose on puppets with CornerNet's focal loss in place of the squared error: a loss that
# reads the positives of any assigner, Gaussian targets or none. Another assigner is one line:
# --cfg-options "model.train_cfg.assigner=dict(type='SimOTAAssigner')".
_base_ = ['./openpose_tiny_puppets.py']

_focal = dict(type='GaussianFocalLoss', use_sigmoid=True, loss_weight=0.02)

model = dict(
    head=dict(
        loss_heatmap=dict(_delete_=True, **_focal),
        loss_background=dict(**_focal),
        loss_terms=dict(
            loss_heatmap=dict(normalizer='positives'),
            loss_background=dict(normalizer='positives'),
        ),
    ),
)
