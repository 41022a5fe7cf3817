"""Makes the table of scales in docs/results.md: the enhancer on maps resized by one factor, and by several.

    python pipelines/scales.py --data ../shared/data --runs runs

Takes the forests' maps of up to six test images from the runs with seed 0 that results.py has made.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from results import AMOUNTS, HERE, Pair, pairs, under

from shallow2deep.evaluation.metrics import pooled_score
from shallow2deep.inference.enhance import Enhancer, weighed_mean
from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.io.volumes import open_volumes
from shallow2deep.settings import EnhancedSettings, RawData

SCALES = (0.5, 0.7, 1.0, 1.4, 2.0)
SETTINGS = EnhancedSettings()
SEVERAL = (SETTINGS.scales, SCALES)
_IMAGES = 6


def forest_maps(run: Path, pair: Pair, data: Path) -> list[np.ndarray]:
    """`(C, y, x)` of the test images, in their order."""
    names = [f"{run}/test/target_forest/{Path(name.partition(':')[0]).stem}.h5" for name in pair.test_raw]
    volumes = open_volumes(names)
    parts = [part for volume in volumes for part in (volume.planes() if volume.ndim == 3 else [volume])]
    return [part.read() for part in parts[:_IMAGES]]


def rows(name: str, pair: Pair, options: argparse.Namespace) -> Iterator[str]:
    network, spec = load_enhancer(options.runs / pair.run)
    enhancer = Enhancer(network, spec.outputs, SETTINGS)
    labels = RawData(raw=under(options.data, pair.test_labels), slices=pair.test_slices)
    for amount in AMOUNTS:
        run = options.runs / name / f"{amount}-0"
        if not run.is_dir():
            continue
        maps = forest_maps(run, pair, options.data)
        parts = [part for image in open_images(labels, 2) for part in image.parts]
        truths = [truth.read() > 0 for truth in parts[: len(maps)]]
        valids = [valid.read() > 0 for valid in open_volumes(under(options.data, pair.test_valid))] or None
        cells = [pooled_score([p[1] for p in maps], truths, valids)["dice"]]
        found = {scale: [enhancer.enhance_at_scale(p[1:2], scale) for p in maps] for scale in SCALES}
        for scales in (*((scale,) for scale in SCALES), *SEVERAL):
            together = zip(*(found[scale] for scale in scales), strict=True)
            means = [weighed_mean(several, p[1:2]) for several, p in zip(together, maps, strict=True)]
            cells.append(pooled_score([np.asarray(p)[-1] for p in means], truths, valids)["dice"])
        yield f"| {name} | {amount} | {' | '.join(f'{cell:.3f}' for cell in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "../../shared/data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--pairs", nargs="*")
    options = parser.parse_args()
    known = pairs(options.data, options.runs)
    together = [f"{min(scales)} to {max(scales)}" for scales in SEVERAL]
    print(f"| source-target | strokes | forest | {' | '.join([*map(str, SCALES), *together])} |")
    print(f"|{'---|' * (len(SCALES) + len(SEVERAL) + 3)}")
    for name in options.pairs or [name for name in known if (options.runs / name).is_dir()]:
        for row in rows(name, known[name], options):
            print(row, flush=True)


if __name__ == "__main__":
    main()
