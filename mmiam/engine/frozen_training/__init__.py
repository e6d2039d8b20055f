"""Training on a frozen backbone: its outputs are stored once, so head and filling module take minutes on a CPU.

Not in the paper, which fine-tunes the backbone; our choice for the published models and for few photos. Losses, cues
and candidate masks are those of :class:`IAMNet`. What differs: the only augmentation is the mirror image, and cues and
candidate masks are kept at the size of the filling module's grid (input over ``filler.pooling``), where a mask is the
share of each cell that it covers.

``run.py`` has a whole run on one screen, the other modules its steps in order: features, head, mining, filling module.
Each step finds what it has made before: a killed run goes on where it was.

Legend: N images with 2 views each (0 as it is, 1 mirrored), C classes, g x g grid, n instances of one image.
"""
from .features import build_plain_dataset
from .recipe import Recipe
from .run import Outcome, train_frozen

__all__ = ['Outcome', 'Recipe', 'build_plain_dataset', 'train_frozen']
