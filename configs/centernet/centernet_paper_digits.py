# CenterNet in its plainest form on handwritten digits: the cell of a gt's centre is
# positive, every other cell negative, and focal loss does the balancing. So near to 1 the
# overlap leaves no radius for a Gaussian. The config beside it has the paper's Gaussian targets.
_base_ = ['./centernet_tiny_digits.py']

model = dict(
    bbox_head=dict(loss_cls=dict(_delete_=True, type='FocalLoss', gamma=2.0, alpha=0.25)),
    train_cfg=dict(assigner=dict(min_overlap=0.99)),
)
