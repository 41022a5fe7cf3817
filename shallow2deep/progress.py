"""Progress bars that suit a terminal, and log files too."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
    """A bar on stderr; into a file, a line every half a minute at most."""
    interval = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(*arguments, dynamic_ncols=True, mininterval=interval, maxinterval=2 * interval, **options)
