# Associative embedding on puppets: a quarter of an hour on a CPU.
_base_ = ['../_base_/models/ae_tiny.py', '../_base_/tiny_puppets.py']
