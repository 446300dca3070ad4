# SSD's own matching on handwritten digits (Liu et al., SSD, ECCV 2016, section 2.2): each
# gt first takes its best default box, one to one, then every box with IoU > 0.5 follows;
# negatives are the hardest, 3 to 1. The config beside it matches as OpenMMLab's does, by
# MaxIoUAssigner, where a gt's best box may be taken from it by a later gt.
_base_ = ['./ssd_tiny_digits.py']

model = dict(train_cfg=dict(assigner=dict(_delete_=True, type='SSDAssigner', pos_iou_thr=0.5)))
