# The quick start: ppyoloe_tiny_digits.py with half of the steps, at a higher rate.
_base_ = ['./ppyoloe_tiny_digits.py']

train_cfg = dict(max_iters=2000, val_interval=1000)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
