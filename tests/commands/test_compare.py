"""All results with several seeds, side by side."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import Data

from shallow2deep import adapt
from shallow2deep.commands.compare import compare
from shallow2deep.errors import InputError
from shallow2deep.settings import AdaptConfig, RawData, validated


def test_compare_with_seeds(data: Data, source_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    values = data.segmentor_values(source_run)
    for name in ("raw", "strokes", "labels"):
        values["target"][name] = f"{data.folder}/target[01]_{name}.png"
    adapt(validated(AdaptConfig, values, "test"), run)
    test = (
        RawData(raw=(f"{data.folder}/source0_raw.png",)),
        RawData(raw=(f"{data.folder}/source0_labels.png",)),
    )
    result = compare(run, 2, None, *test)
    assert "supervised" in result.text
    assert "Dice on test" in result.text
    assert "±" in result.text
    scores = json.loads(result.path.with_name("scores.json").read_text())
    assert len(scores) == 2
    again = compare(run, 2, None, *test)
    assert again.text == result.text
    with pytest.raises(InputError, match="belong together"):
        compare(run, 2, None, test[0])
    raw = iio.imread(data.folder / "source0_raw.png")
    iio.imwrite(tmp_path / "bits16.png", raw.astype(np.uint16) * 200 + 1000)
    far = RawData(raw=(str(tmp_path / "bits16.png"),))
    with pytest.raises(InputError, match=r"bits16.png: its values are .*rescale"):
        compare(run, 1, None, far, test[1])
    assert "Dice on test" in compare(run, 1, None, far, test[1], rescale=True).text
