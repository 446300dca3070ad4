"""The value types through which the parts meet."""

from .det_data_sample import DetDataSample

__all__ = ['DetDataSample']
