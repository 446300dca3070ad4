# CenterNet on COCO as its paper trains (section 5: Adam 0.0005, batch 128, 140 epochs, ten
# times less after 90 and 120) and with its Gaussians (CornerNet's overlap of 0.7). Here an
# epoch is one of 5 rounds, so the numbers are a fifth. The colours stay SSD's.
_base_ = ['./centernet_r18_coco.py']

model = dict(train_cfg=dict(assigner=dict(min_overlap=0.7)))

param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=28, by_epoch=True, milestones=[18, 24], gamma=0.1)
]
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=0.0005), clip_grad=None)
