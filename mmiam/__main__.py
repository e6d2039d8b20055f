"""``python -m mmiam``."""
import sys

from mmiam.cli import main

sys.exit(main())
