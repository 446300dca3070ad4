"""Pictures of data, predictions and runs."""

from .curves import find_logs, plot_curves, read_scalars
from .draw import draw_boxes
from .sheet import draw_prediction_sheet
from .visualizer import DetVisualizer

__all__ = [
    'DetVisualizer',
    'draw_boxes',
    'draw_prediction_sheet',
    'find_logs',
    'plot_curves',
    'read_scalars',
]
