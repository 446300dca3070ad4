# OpenPose on the harder puppets: up to six persons, 192 pixels.
_base_ = ['../_base_/models/openpose_tiny.py', '../_base_/tiny_puppets_hard.py']
