"""A procedural data set of chimeric animals whose class is written on the head alone.

``textures`` noise, colour ramps and coats; ``anatomy`` the class-free body; ``heads`` the six heads;
``backgrounds`` scenery and distractors; ``scene`` one image with exact instance masks; ``voc_writer`` the
folder in PASCAL VOC's layout. NumPy and OpenCV only.
"""
from .heads import CLASSES
from .scene import Scene, render_scene
from .voc_writer import write_dataset

__all__ = ['CLASSES', 'Scene', 'render_scene', 'write_dataset']
