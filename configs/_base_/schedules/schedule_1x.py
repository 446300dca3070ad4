# 12 epochs, batch 16, SGD; the rate falls tenfold after epochs 8 and 11. The milestones are
# shares of the length, so that another max_epochs (24: 16 and 22) needs no other schedule.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, by_epoch=True, milestones=[8 / 12, 11 / 12], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
)
# --auto-scale-lr scales the rate from this batch size to the one in use.
auto_scale_lr = dict(enable=False, base_batch_size=16)
