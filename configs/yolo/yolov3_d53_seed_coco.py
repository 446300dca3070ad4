# YOLOv3 on COCO as its paper assigns (section 2.1): the best of the nine anchors by shape
# answers for a gt, in the cell of its centre; predictions that overlap a gt by more than 0.5
# without answering for one are ignored. The rest is mmdet's recipe.
_base_ = ['./yolov3_d53_coco.py']

model = dict(train_cfg=dict(assigner=dict(_delete_=True, type='YOLOV3Assigner', ignore_thr=0.5)))
