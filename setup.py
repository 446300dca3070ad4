"""Adds what setup.cfg cannot say: `configs/` travels as the package `registry_losses.configs`.

So `registry_losses::retinanet/retinanet_tiny_digits.py` names a config wherever the package is
installed, and the repository keeps `configs/` where people look for it.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=['registry_losses', 'registry_losses.*']),
        'registry_losses.configs',
    ],
    package_dir={'registry_losses.configs': 'configs'},
)
