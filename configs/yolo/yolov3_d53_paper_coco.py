# YOLOv3 on COCO as its paper assigns (section 2.1): the best of the nine anchors by shape
# takes a gt, in the cell of its centre; others whose prediction overlaps a gt by more than 0.5
# are ignored. Boxes by squared errors, each weighted by 2 - w h in
# shares of the image. The rest is mmdet's recipe.
_base_ = ['./yolov3_d53_coco.py']

model = dict(
    bbox_head=dict(
        loss_xy=dict(_delete_=True, type='MSELoss', loss_weight=1.0, reduction='sum'),
        loss_wh=dict(loss_weight=1.0),
        loss_terms=dict(
            loss_xy=dict(pair_weight='box_scale'), loss_wh=dict(pair_weight='box_scale')
        ),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='YOLOV3Assigner', ignore_thr=0.5)),
)
