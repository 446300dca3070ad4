# Loaders of a small data set that is drawn on first use: no workers, images of one size.
train_dataloader = dict(batch_size=8, num_workers=0, sampler=dict(type='KeyedSampler'))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
