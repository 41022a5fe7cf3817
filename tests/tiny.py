"""A tiny labelled source and a target with strokes, made up: bright discs on a noisy ground."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, validated

N_IMAGES, SIZE = 4, 96
PACKAGE = (
    "package.title=tiny enhancer",
    "package.authors=[{name: A. Tester}]",
    "package.licence=CC0-1.0",
    "package.validation=Dice 0.5 on made-up discs.",
)
VARIANTS = ("plain", "consistency", "rectification", "both")
SEGMENTOR = {
    "network": {"features": 4, "depth": 2, "stem": 1},
    "patch": [32, 32],
    "batch": 2,
    "steps": 6,
    "checkpoint_every": 2,
    "workers": 0,
    "device": "cpu",
}


@dataclass(frozen=True)
class Data:
    """Folder with `{source,target}{n}_{raw,labels}.png` and `target{n}_strokes.png`."""

    folder: Path

    def source_values(self, **changes: object) -> dict:
        plain = {
            "classes": ["background", "disc"],
            "sources": [
                {
                    "raw": f"{self.folder}/source*_raw.png",
                    "labels": f"{self.folder}/source*_labels.png",
                    "licence": "CC0 for tests",
                }
            ],
            "features": {"scales": [0.7, 1.6]},
            "forests": {
                "count": 4,
                "validation_count": 2,
                "stage_size": 2,
                "trees": [3, 6],
                "patch": [48, 48],
                "points": 50,
            },
            "probabilities": {
                "patches": 6,
                "validation_patches": 2,
                "patch": [64, 64],
                "forests_per_patch": 2,
            },
            "enhancer": {
                "network": {"features": 4, "depth": 2, "stem": 2},
                "patch": [32, 32],
                "batch": 2,
                "steps": 12,
                "validate_every": 4,
                "checkpoint_every": 4,
                "workers": 0,
                "device": "cpu",
            },
        }
        return plain | changes

    def source(self, **changes: object) -> EnhancerTrainConfig:
        return validated(EnhancerTrainConfig, self.source_values(**changes), "test")

    def target_values(self, enhancer: Path, **changes: object) -> dict:
        plain = {
            "classes": ["background", "disc"],
            "target": {
                "raw": f"{self.folder}/target*_raw.png",
                "strokes": f"{self.folder}/target*_strokes.png",
            },
            "enhancer": str(enhancer),
            "target_forest": {"n_trees": 5},
            "enhanced": {"device": "cpu", "scales": [0.7, 1.0]},
        }
        return plain | changes

    def target(self, enhancer: Path, **changes: object) -> AdaptConfig:
        return validated(AdaptConfig, self.target_values(enhancer, **changes), "test")

    def segmentor_values(self, enhancer: Path, **changes: object) -> dict:
        """With dense labels, held-out strokes, and a segmentor; `changes` are of its settings."""
        strokes = {"raw": f"{self.folder}/target*_raw.png", "strokes": f"{self.folder}/target*_strokes.png"}
        return self.target_values(
            enhancer,
            segmentor=SEGMENTOR | {"variants": VARIANTS[:1]} | changes,
            target=strokes | {"labels": f"{self.folder}/target*_labels.png"},
            held_out=0.3,
        )

    def with_segmentor(self, enhancer: Path, compared: bool = False, **changes: object) -> AdaptConfig:
        """The same, with all baselines and objects if `compared`."""
        extra = {"source_net": True, "strokes_net": True, "supervised": True} if compared else {}
        values = self.segmentor_values(enhancer, **changes) | {"compare": extra}
        if compared:
            values["objects"] = {"min_size": 10}
        return validated(AdaptConfig, values, "test")


def disc_image(seed: int, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Raw uint8 and instance labels uint8, both `(SIZE, SIZE)`."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for number in range(1, 7):
        y, x = np.indices(labels.shape) - rng.integers(8, SIZE - 8, 2)[:, None, None]
        labels[(y**2 + x**2 < rng.integers(5, 11) ** 2) & (labels == 0)] = number
    noise = ndi.gaussian_filter(rng.normal(size=labels.shape), 1)
    raw = 100 + contrast * (labels > 0) + 60 * noise
    return raw.clip(0, 255).astype(np.uint8), labels


def artifacts(run: Path) -> dict[str, bytes]:
    """All files of a run that are to be the same each time, by name."""
    timed = ("log.txt", "events.jsonl", "known.json", "tensorboard", "minutes.json", "report", "report.html")
    scratch = (*timed, ".lock", "checkpoints", "settings.yaml")
    return {
        str(p.relative_to(run)): p.read_bytes()
        for p in sorted(run.rglob("*"))
        if p.is_file() and not any(part in scratch for part in p.relative_to(run).parts)
    }
