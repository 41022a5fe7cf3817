"""Packages where shallow2deep is not installed: read by several versions, with the same numbers."""

import json
import subprocess
import venv
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from tiny import N_IMAGES, Data, disc_image

from shallow2deep import enhancer_train
from shallow2deep.exports.bioimageio import write_package
from shallow2deep.exports.rdf import PackageInfo
from shallow2deep.networks.model import load_model
from shallow2deep.settings import AuthorSettings, CitationSettings

pytestmark = pytest.mark.slow  # each makes an environment of its own


def environment(folder: Path, *requirements: str) -> Path:
    """The Python of a new environment with some packages and what they need."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained enhancer's package; beside it an input and what the network makes of it."""
    folder = tmp_path_factory.mktemp("fresh")
    for n in range(N_IMAGES):
        raw, labels = disc_image(n, 50)
        iio.imwrite(folder / f"source{n}_raw.png", raw)
        iio.imwrite(folder / f"source{n}_labels.png", labels)
    enhancer_train(Data(folder).source(), folder / "run")
    network, spec = load_model(folder / "run" / "enhancer")
    x = np.random.default_rng(0).random((1, 1, 192, 208), np.float32)
    with torch.inference_mode():
        np.save(folder / "y.npy", torch.sigmoid(network(torch.from_numpy(x))).numpy())
    np.save(folder / "x.npy", x)
    info = PackageInfo(
        "tiny enhancer",
        "For a test.",
        (AuthorSettings(name="A. Tester"),),
        "CC0-1.0",
        (CitationSettings(text="nobody", url="https://example.org"),),
        (),
        "# tiny\n\n## Validation\n\nnone\n",
    )
    cover = np.zeros((64, 64), np.uint8)
    return write_package(folder / "tiny.zip", network, spec, info, x[0], cover)


def test_the_same_numbers_with_bioimageio_core_alone(package: Path, tmp_path: Path) -> None:
    python = environment(
        tmp_path / "env", "bioimageio.core>=0.11,<0.12", "pydantic<2.14", "torch>=2.10,<2.14"
    )
    code = (
        "import sys, importlib.util, numpy as np\n"
        "assert importlib.util.find_spec('shallow2deep') is None\n"
        "from bioimageio.core import create_prediction_pipeline, load_description, predict\n"
        "folder = sys.argv[1]\n"
        "for weights in ('torchscript', 'pytorch_state_dict'):\n"
        "    model = load_description(folder + '/tiny.zip')\n"
        "    pipeline = create_prediction_pipeline(model, weight_format=weights)\n"
        "    sample = predict(model=pipeline, inputs=np.load(folder + '/x.npy'))\n"
        "    (found,) = sample.members.values()\n"
        "    inner = (..., slice(48, -48), slice(48, -48))  # the border is continued there, and not here\n"
        "    difference = abs(np.asarray(found.data) - np.load(folder + '/y.npy'))[inner].max()\n"
        "    assert difference < 1e-5, (weights, difference)\n"
    )
    done = subprocess.run([python, "-c", code, package.parent], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "requirements",
    [
        ("bioimageio.spec==0.5.4.1", "pydantic<2.11"),  # in ilastik 1.4.1
        ("bioimageio.spec==0.5.9.1", "pydantic<2.14"),  # in ilastik 1.4.2
        ("bioimageio.spec==0.5.12.0", "pydantic<2.14"),
        ("bioimageio.spec",),
    ],
    ids=lambda requirements: requirements[0],
)
def test_read_by_the_versions_in_use(requirements: tuple[str, ...], package: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", *requirements)
    code = (
        "import sys, json\n"
        "from bioimageio.spec import load_description\n"
        "d = load_description(sys.argv[1], perform_io_checks=False)\n"
        "s = d.validation_summary\n"
        "print(json.dumps([type(d).__name__, s.status, [e.msg for x in s.details for e in x.errors]]))"
    )
    done = subprocess.run([python, "-c", code, package], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    name, status, errors = json.loads(done.stdout.splitlines()[-1])
    assert (name, errors) == ("ModelDescr", [])
    assert status != "failed"
