# The quick start: ppyoloe_tiny_digits.py with three fifths of the steps, at a higher rate.
_base_ = ['./ppyoloe_tiny_digits.py']

train_cfg = dict(max_iters=2400, val_interval=800)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
