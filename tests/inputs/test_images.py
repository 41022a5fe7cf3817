"""Raw images: their planes, and names for what is made of them."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import Data

from shallow2deep.errors import InputError
from shallow2deep.inputs.images import open_images
from shallow2deep.settings import RawData, TargetData


def test_raw_without_planes_has_none_to_choose_from(data: Data) -> None:
    with pytest.raises(InputError, match="no planes to choose slices"):
        open_images(RawData(raw=f"{data.folder}/source*_raw.png", slices="1,3"), 2)


def test_names_of_results_differ(tmp_path: Path) -> None:
    for folder, name in (("x", "a"), ("y", "a"), ("z", "a_2")):
        (tmp_path / folder).mkdir()
        iio.imwrite(tmp_path / folder / f"{name}.png", np.zeros((8, 8), np.uint8))
    raw = [str(p) for p in sorted(tmp_path.glob("*/*.png"))]
    names = [image.name for image in open_images(TargetData(raw=raw, strokes=("x",)), 2)]
    assert len(set(names)) == 3
