"""Training on a frozen backbone: its outputs are stored once, so head and filling module train in minutes on a CPU.

Not in the paper, which fine-tunes the backbone; our choice for the published models and for small sets of photos.
Losses, cues and candidate masks are those of :class:`IAMNet`, with two differences. The only augmentation is mirroring,
and cues and candidate masks are kept at the size of the filling module's grid (input size over ``filler.pooling``),
where a mask gives the share of each cell that it covers.

``run.py`` has a whole run on one screen; the other modules are its steps, in this order: features, head, mining,
filling module. Each step reuses what it made before, so a run that was killed continues where it stopped.

Legend: N images with 2 views each (0 as it is, 1 mirrored), C classes, g x g grid, n instances of one image.
"""
from .features import build_plain_dataset
from .recipe import Recipe
from .run import Outcome, train_frozen

__all__ = ['Outcome', 'Recipe', 'build_plain_dataset', 'train_frozen']
