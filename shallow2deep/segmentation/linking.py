"""Objects of neighbouring planes, linked where they overlap."""

import numpy as np
from scipy.sparse import csr_array
from skimage.metrics import contingency_table


def overlaps(first: np.ndarray, second: np.ndarray) -> csr_array:
    """How many pixels each object shares with each of another label image; row and column 0: background."""
    return contingency_table(first, second, sparse_type="array")


def ious(table: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of objects that overlap, from 1, and their intersection over union.

    Args:
        table: see `overlaps`.

    >>> ious(overlaps(np.array([0, 1, 1, 2]), np.array([3, 3, 3, 0])))
    (array([1]), array([3]), array([0.66666667]))
    """
    pairs = table.tocoo()
    rows, columns = np.ravel(table.sum(axis=1)), np.ravel(table.sum(axis=0))
    inside = (pairs.row > 0) & (pairs.col > 0) & (pairs.data > 0)
    i, j, both = pairs.row[inside], pairs.col[inside], pairs.data[inside]
    return i, j, both / (rows[i] + columns[j] - both)


def linked(planes: np.ndarray, least: float) -> np.ndarray:
    """Label images of planes as one of a volume.

    An object is the same as one of the next plane if each overlaps with no other more, as IoU, and by at
    least `least`.

    Args:
        planes: whole numbers `(z, y, x)`, each plane with numbers of its own.

    Returns:
        int32 `(z, y, x)`, without gaps in the numbers.
    """
    out = np.zeros(planes.shape, np.int32)
    before, count = np.zeros(1, np.int32), 0
    for z, plane in enumerate(planes):
        numbers = np.zeros(int(plane.max()) + 1, np.int32)
        if z:
            for a, b in mutual_best(*ious(overlaps(planes[z - 1], plane)), least):
                numbers[b] = before[a]
        new = np.setdiff1d(np.unique(plane), [0, *np.flatnonzero(numbers)])
        numbers[new] = np.arange(count + 1, count + 1 + len(new))
        count += len(new)
        out[z], before = numbers[plane], numbers
    return out


def mutual_best(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, least: float
) -> list[tuple[int, int]]:
    """The pairs of which each is the other's best; of equal ones the first."""
    order = np.lexsort((columns, rows, -values))
    best_of_row: dict[int, int] = {}
    best_of_column: dict[int, int] = {}
    for n in order[values[order] >= least].tolist():
        best_of_row.setdefault(int(rows[n]), int(columns[n]))
        best_of_column.setdefault(int(columns[n]), int(rows[n]))
    return [(a, b) for a, b in best_of_row.items() if best_of_column[b] == a]
