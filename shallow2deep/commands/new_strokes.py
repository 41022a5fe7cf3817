"""`s2d strokes new`: empty stroke files for those who paint in another program."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.inputs.images import require_writable
from shallow2deep.inputs.names import plain_name
from shallow2deep.io.label_files import write_labels
from shallow2deep.io.memory import require_memory
from shallow2deep.io.volumes import open_volumes


def new_strokes(names: Sequence[str], out: Path) -> list[Path]:
    """Writes a label image of zeros for each image, of its shape, with a name by which the two are matched.

    Args:
        names: images, see `open_volumes`.
        out: folder.

    Returns:
        The files, `NAME_strokes.tif`.

    Raises:
        InputError: images that cannot be used, or files that are there already; nothing is written then.
    """
    images = open_volumes(names)
    targets = [out / f"{plain_name(image)}_strokes.tif" for image in images]
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise InputError(f"two images would get {twice}; give one of them, such as 'folder/*_raw.png'")
    if there := [target for target in targets if target.exists()]:
        raise InputError(f"{there[0]} exists already; give another --out, or move it away")
    require_writable(targets)
    for image, target in zip(images, targets, strict=True):
        require_memory(2 * int(np.prod(image.spatial_shape)), str(target))
        write_labels(target, np.zeros(image.spatial_shape, np.uint16), image.voxel_size)
    return targets
