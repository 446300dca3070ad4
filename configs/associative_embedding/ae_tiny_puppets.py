# Associative embedding on puppets: ten minutes of one CPU core.
_base_ = ['../_base_/models/ae_tiny.py', '../_base_/tiny_puppets.py']
