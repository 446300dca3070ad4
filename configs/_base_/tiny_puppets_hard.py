# The harder puppets: one to six an image of 192 pixels, some of them a third of its height.
_base_ = ['./tiny_puppets.py']

data_root = 'data/puppets_hard/'
_spec = dict(num_train=5000, num_val=200, image_size=192, max_persons=6, min_height=0.3)

train_dataloader = dict(dataset=dict(data_root=data_root, spec=_spec))
val_dataloader = dict(dataset=dict(data_root=data_root, spec=_spec))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
