# OpenPose on puppets: ten minutes of one CPU core.
_base_ = ['../_base_/models/openpose_tiny.py', '../_base_/tiny_puppets.py']
