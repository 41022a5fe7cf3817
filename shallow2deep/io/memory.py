"""A look at the memory before something large is allocated."""

import psutil

from shallow2deep.errors import TooLittleMemoryError


def require_memory(n_bytes: int, what: str) -> None:
    """Refuses what cannot fit.

    Args:
        n_bytes: the size about to be allocated.
        what: the beginning of the error's sentence, such as "reading raw.h5:raw".

    Raises:
        TooLittleMemoryError: if less memory is available.
    """
    available = psutil.virtual_memory().available
    if n_bytes > available:
        raise TooLittleMemoryError(
            f"{what} needs {n_bytes / 1e9:.2f} GB but {available / 1e9:.2f} GB of memory are available; "
            "take a smaller part, or a machine with more memory"
        )
