"""A run's own copies of the networks it was given."""

import shutil
from pathlib import Path

import numpy as np
from tiny import Data

from shallow2deep import adapt, predict
from shallow2deep.io.volumes import open_volume


def test_run_stays_whole_without_the_enhancers_run(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(source_run, tmp_path / "source")
    adapt(data.target(source), tmp_path / "target")
    shutil.rmtree(source)
    raw = f"{data.folder}/target0_raw.png"
    out = predict(tmp_path / "target", raw, tmp_path / "one.h5", "enhanced")
    expected = open_volume(target_run / "enhanced" / "target0_raw.h5").read()
    np.testing.assert_array_equal(open_volume(out[0]).read(), expected)
