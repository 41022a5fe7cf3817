"""Makes the pictures of docs/ilastik.md: what comes of a few strokes in a project, here and in ilastik.

    python pipelines/walkthrough.py --data ../shared/data --runs runs --out docs/images

The images are dim, noisy nuclei (BBBC038, CC0), painted by a program;
the project is written as ilastik does it.
Prints how many connected parts there are at 0.5 in each map, and the Dice of forest and enhanced map.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image
from results import HERE, Pair, left_out, under
from skimage.color import label2rgb
from skimage.measure import label

from shallow2deep.commands.adapt import adapt
from shallow2deep.evaluation.metrics import score
from shallow2deep.evaluation.pictures import save_panel
from shallow2deep.exports.tiling import Tiling, predict_tiled
from shallow2deep.inputs.ilastik import open_frames
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.io.ilp import open_project
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import foreground
from shallow2deep.settings import AdaptConfig, TargetData

sys.path.append(str(HERE.parent / "tests"))
from ilp_file import write_project

PAIR, ENHANCER = "fluo-512x640", "nuclei-2d"
LABELS = ("background", "nuclei")
SCALES = (0.7, 1.0, 1.6, 3.5)
_WIDTH = 1100  # pixels of a picture in the docs


def painted_project(path: Path, pair: Pair, data: Path, amount: str) -> Path:
    """A Pixel Classification project of three images with `amount` of strokes, all filters chosen."""
    with h5py.File(data / pair.strokes) as file:
        strokes = file[amount][()]
    raws = under(data, pair.raw)
    lanes = [(raw, "yxc", drawn[..., None]) for raw, drawn in zip(raws, strokes, strict=True)]
    write_project(path, lanes, LABELS, scales=SCALES)
    with h5py.File(path, "r+") as file:
        file["FeatureSelections/SelectionMatrix"][...] = True
    return path


def objects(mask: np.ndarray) -> np.ndarray:
    """Each connected part in a colour of its own, float `(y, x, 3)`."""
    return label2rgb(label(mask), bg_label=0)


def save_picture(path: Path, rows: list[dict[str, np.ndarray]]) -> None:
    shrink(save_panel(path.with_suffix(".png"), rows), path)


def shrink(png: Path, path: Path) -> None:
    """Turns a PNG into a JPEG as wide as the docs need."""
    image = Image.open(png).convert("RGB")
    image.thumbnail((_WIDTH, _WIDTH))
    image.save(path, quality=85)
    png.unlink()


def screenshot(page: Path, path: Path) -> None:
    """The upper part of a page, as a browser shows it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("the picture of the report needs chromium: apt-get install chromium")
    png = path.with_suffix(".png")
    size = ["--window-size=1280,850", f"--screenshot={png}"]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *size]
    subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True)
    shrink(png, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=HERE / "../docs/images")
    parser.add_argument("--strokes", default="medium", help="few, medium or many")
    options = parser.parse_args()
    run = options.runs / f"walkthrough-{options.strokes}"
    run.parent.mkdir(parents=True, exist_ok=True)
    pair = left_out(options.data, options.runs)[PAIR]
    project = painted_project(run.with_suffix(".ilp"), pair, options.data, options.strokes)
    target = TargetData(ilp=str(project), background=LABELS[0])
    adapt(AdaptConfig(target=target, enhancer=ENHANCER), run)

    network, _ = load_enhancer(ENHANCER)
    assert isinstance(network, UNet)
    tiling = Tiling.of(network)
    painted, maps, found = [], [], []
    truths = under(options.data, pair.labels)
    for frame, truth in zip(open_frames(open_project(project)), truths, strict=True):
        raw = frame.whole.grey().read()
        forest, enhanced = (
            foreground(*read_map(run / step / f"{frame.name}.h5"))[0]
            for step in ("target_forest", "enhanced")
        )
        in_ilastik = predict_tiled(lambda x: torch.sigmoid(network(x)), forest[None], tiling)[0]
        painted.append({"raw": raw, "strokes": frame.labels})
        maps.append({"raw": raw, "forest": forest, "enhanced": enhanced, "in ilastik": in_ilastik})
        masks = {"forest": forest > 0.5, "enhanced": enhanced > 0.5, "labels": iio.imread(truth) > 0}
        found.append({"raw": raw} | {name: objects(mask) for name, mask in masks.items()})
        counts = ", ".join(f"{name} {label(mask).max()}" for name, mask in masks.items())
        dice = (score(p, masks["labels"])["dice"] for p in (forest, enhanced))
        print(f"{frame.name}: parts: {counts}; Dice: {', '.join(f'{one:.2f}' for one in dice)}")
    options.out.mkdir(parents=True, exist_ok=True)
    save_picture(options.out / "ilastik-paint.jpg", painted)
    save_picture(options.out / "ilastik-maps.jpg", maps)
    save_picture(options.out / "ilastik-objects.jpg", found)
    screenshot(run / "report.html", options.out / "ilastik-report.jpg")


if __name__ == "__main__":
    main()
