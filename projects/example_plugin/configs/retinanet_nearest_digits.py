# RetinaNet on digits with this plugin's assigner and loss: two nodes differ.
# The package is found by its entry point; where it is not installed, its folder on the
# import path and the next line do the same.
_base_ = ['../../../configs/retinanet/retinanet_tiny_digits.py']
custom_imports = dict(imports=['rl_example_plugin'], allow_failed_imports=False)

model = dict(
    train_cfg=dict(assigner=dict(_delete_=True, type='NearestPriorsAssigner', k=9)),
    bbox_head=dict(loss_bbox=dict(_delete_=True, type='LogCoshLoss')),
)
