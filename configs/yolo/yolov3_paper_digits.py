# YOLOv3's own rule on handwritten digits (Redmon and Farhadi 2018, section 2.1): the best
# of the nine anchors by shape takes a gt, in the cell of its centre; others whose prediction
# overlaps a gt by more than 0.5 are ignored. Boxes by
# squared errors, small ones weighted up by 2 - w h. The config beside it assigns as
# OpenMMLab's does, by the grid assigner.
_base_ = ['./yolov3_tiny_digits.py']

model = dict(
    bbox_head=dict(
        loss_xy=dict(_delete_=True, type='MSELoss', loss_weight=2.0, reduction='sum'),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum'),
        loss_terms=dict(
            loss_xy=dict(pair_weight='box_scale'), loss_wh=dict(pair_weight='box_scale')
        ),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='YOLOV3Assigner', ignore_thr=0.5)),
)
