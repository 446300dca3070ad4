# PP-YOLOE's head on handwritten digits: minutes on a CPU.
_base_ = ['../_base_/models/ppyoloe_tiny.py', '../_base_/tiny_digits.py']
