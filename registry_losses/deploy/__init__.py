"""A trained detector as a file that other runtimes read."""

from .check import Comparison, compare_outputs
from .graph import OUTPUTS, InferenceGraph, require_exportable
from .onnx_file import export_onnx

__all__ = [
    'OUTPUTS',
    'Comparison',
    'InferenceGraph',
    'compare_outputs',
    'export_onnx',
    'require_exportable',
]
