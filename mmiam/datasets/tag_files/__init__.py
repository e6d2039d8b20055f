"""Image-level tags of your own images: one folder per class, CSV, or COCO json, of which only category ids are read.

A *name* is the path of an image relative to the image folder, with ``/``. Names in files are checked, so that no file
can lead out of the image folder. Spaces around a class name do not belong to it, and an é is one letter, whether it is
encoded as one character or two; a name in a file is found on the disk in either form.
"""
from .coco_json import read_coco
from .csv_files import read_csv
from .names import safe_name
from .reading import FOLDERS, class_names, read_class_folders, read_tags

__all__ = ['FOLDERS', 'class_names', 'read_class_folders', 'read_coco', 'read_csv', 'read_tags', 'safe_name']
