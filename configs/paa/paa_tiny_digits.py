# PAA on handwritten digits: minutes on a CPU.
_base_ = ['../_base_/models/paa_tiny.py', '../_base_/tiny_digits.py']
