"""Image-level tags of one's own images: one folder a class, CSV, or COCO json of which only category ids are read.

A *name* is an image's path relative to the image folder, with ``/``. Names in files are checked, so that no file can
lead out of the image folder. Blanks around a class name are no part of it, and an é is one letter, however it was
written; a name in a file is found on the disk in either form.
"""
from .reading import FOLDERS, class_names, read_tags

__all__ = ['FOLDERS', 'class_names', 'read_tags']
