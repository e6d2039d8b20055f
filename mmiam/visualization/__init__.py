"""Pictures of activation maps and instances. All modules except ``visualizer`` need only NumPy and OpenCV."""
from .maps import COLUMNS, draw_predicted
from .overlays import color_heatmap, overlay_heatmap, overlay_instances
from .sheet import draw_sheet, side_by_side, write_sheet

__all__ = ['COLUMNS', 'color_heatmap', 'draw_predicted', 'draw_sheet',
           'overlay_heatmap', 'overlay_instances', 'side_by_side', 'write_sheet']
