"""Pictures of data, predictions and runs."""

from .assignment_counts import Counts, Table, count_tables, gt_table
from .assignments import draw_assignments
from .comparison import RunSummary, markdown_table, plot_runs, read_run
from .curves import find_logs, plot_curves, read_scalars
from .draw import draw_boxes
from .heat_map import draw_heat_map
from .pose_maps import draw_fields, draw_heatmaps, draw_map_sheet, draw_tags
from .sheet import draw_prediction_sheet
from .skeletons import draw_skeletons
from .visualizer import DetVisualizer

__all__ = [
    'Counts',
    'DetVisualizer',
    'RunSummary',
    'Table',
    'count_tables',
    'draw_assignments',
    'draw_boxes',
    'draw_fields',
    'draw_heat_map',
    'draw_heatmaps',
    'draw_map_sheet',
    'draw_prediction_sheet',
    'draw_skeletons',
    'draw_tags',
    'find_logs',
    'gt_table',
    'markdown_table',
    'plot_curves',
    'plot_runs',
    'read_run',
    'read_scalars',
]
