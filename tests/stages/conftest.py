"""The tiny data, and one finished run of each kind on it."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import N_IMAGES, Data, disc_image


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    for n in range(N_IMAGES):
        for name, seed, contrast in (("source", n, 50), ("target", 100 + n, 30)):
            raw, labels = disc_image(seed, contrast)
            iio.imwrite(folder / f"{name}{n}_raw.png", raw)
            iio.imwrite(folder / f"{name}{n}_labels.png", labels)
        strokes = np.zeros_like(labels)
        for row in (20, 40, 60, 80):
            strokes[row : row + 2] = np.where(labels[row : row + 2] > 0, 2, 1)
        iio.imwrite(folder / f"target{n}_strokes.png", strokes)
    return Data(folder)


@pytest.fixture(scope="session")
def source_run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from shallow2deep import enhancer_train

    run = tmp_path_factory.mktemp("runs") / "source"
    enhancer_train(data.source(source_net={**data.source_values()["enhancer"]}), run)
    return run


@pytest.fixture(scope="session")
def target_run(data: Data, source_run: Path) -> Path:
    from shallow2deep import adapt

    run = source_run.with_name("target")
    adapt(data.target(source_run), run)
    return run
