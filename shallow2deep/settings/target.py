"""All settings of `s2d adapt`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shallow2deep.settings.base import FLAG, Classes, Engine, Jobs, Settings
from shallow2deep.settings.change import Change
from shallow2deep.settings.data import TargetData
from shallow2deep.settings.features_forests import FeatureSettings, TreeSettings
from shallow2deep.settings.networks import EnhancedSettings, SegmentorSettings
from shallow2deep.settings.package import PackageSettings


class CompareSettings(Settings):
    """Baselines beside the forest, the enhancer and the segmentor."""

    source_net: bool = Field(False, description="the source's network on raw, if its run trained one")
    strokes_net: bool = Field(False, description="the segmentor's network trained on the strokes alone")
    supervised: bool = Field(False, description="and on dense labels (target.labels): the upper bound")


class AdaptConfig(Settings):
    """All settings of `s2d adapt`."""

    seed: int = Field(0, ge=0)
    ndim: Literal[2, 3] = 2
    classes: Classes = ("background", "foreground")
    target: TargetData
    enhancer: str = Field(
        description="run of enhancer-train, an enhancer's folder, a bioimage.io package, or a name that "
        "s2d models lists",
        json_schema_extra=FLAG,
    )
    features: FeatureSettings | None = Field(None, description="those of the enhancer's forests if not given")
    forest: Literal["train", "ilp"] = Field(
        "train",
        description="train: one on the strokes; ilp: the ilastik project's own",
        json_schema_extra=FLAG,
    )
    target_forest: TreeSettings = TreeSettings()
    enhanced: EnhancedSettings = EnhancedSettings()
    segmentor: SegmentorSettings | None = Field(None, description="none is trained if not given")
    compare: CompareSettings = CompareSettings()
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of each class's strokes that only judge the results; 0: all are learned"
    )
    package: PackageSettings = PackageSettings()
    engine: Engine = "numba"
    jobs: Jobs = -1
    changes: tuple[Change, ...] = Field(
        (), description="settings of a training from a step on, as s2d set has recorded them"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.enhanced.block) != self.ndim:
            raise ValueError(f"enhanced.block has {len(self.enhanced.block)} axes but ndim is {self.ndim}")
        if self.segmentor is not None and len(self.segmentor.patch) != self.ndim:
            raise ValueError(f"segmentor.patch has {len(self.segmentor.patch)} axes but ndim is {self.ndim}")
        if self.segmentor is not None and self.segmentor.rounds > 1 and self.held_out == 0:
            raise ValueError("segmentor.rounds above 1 end by held-out strokes; set held_out above 0")
        if self.forest == "ilp" and (self.target.ilp is None or self.target.probabilities):
            raise ValueError("forest: ilp takes the forest of target.ilp; give that, and no probabilities")
        if self.forest == "ilp" and self.features is not None:
            raise ValueError("the forest of an ilastik project has features of its own; leave out features")
        if self.compare.supervised and self.target.labels is None:
            raise ValueError("compare.supervised needs dense labels; give target.labels, or leave it out")
        return self
