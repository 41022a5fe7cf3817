"""All settings of `s2d adapt`."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shallow2deep.settings.base import (
    FLAG,
    FLAGS,
    Classes,
    Engine,
    Jobs,
    Settings,
    number_if_digits,
    one_or_by_class,
)
from shallow2deep.settings.change import Changes
from shallow2deep.settings.data import TargetData
from shallow2deep.settings.features_forests import FeatureSettings, TreeSettings
from shallow2deep.settings.in_3d import DEFAULT_SEGMENTOR, InTwoOrThree
from shallow2deep.settings.networks import EnhancedSettings, SegmentorSettings
from shallow2deep.settings.package import PackageSettings
from shallow2deep.settings.segmentation import ObjectsSettings


class CompareSettings(Settings):
    """Baselines beside the forest, the enhancer and the segmentor."""

    source_net: bool = Field(False, description="the source's network on raw, if its run trained one")
    strokes_net: bool = Field(False, description="the segmentor's network trained on the strokes alone")
    supervised: bool = Field(False, description="and on dense labels (target.labels): the upper bound")


class AdaptConfig(InTwoOrThree):
    """All settings of `s2d adapt`."""

    seed: int = Field(0, ge=0)
    ndim: Annotated[Literal[2, 3], BeforeValidator(number_if_digits)] = Field(
        2,
        description="2: planes of volumes are images of their own; 3: volumes are enhanced as such, which "
        "enhancers in 3D need",
        json_schema_extra=FLAG,
    )
    classes: Classes = ("background", "foreground")
    target: TargetData
    enhancer: Annotated[str | dict[str, str], BeforeValidator(one_or_by_class)] = Field(
        description="run of enhancer-train, an enhancer's folder, a bioimage.io package, or a name that "
        "s2d models lists; or several, CLASS=NAME each for the class that it is for",
        json_schema_extra=FLAGS,
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
    objects: ObjectsSettings | None = Field(None, description="no objects are cut out if not given")
    compare: CompareSettings = CompareSettings()
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of each class's strokes that only judge the results; 0: all are learned"
    )
    package: PackageSettings = PackageSettings()
    engine: Engine = "numba"
    jobs: Jobs = -1
    changes: Changes = ()

    @property
    def target_network(self) -> SegmentorSettings:
        """Of the segmentor, if one is trained, and in any case of the networks that it is compared with."""
        return self.segmentor or SegmentorSettings.model_validate(DEFAULT_SEGMENTOR[self.ndim])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ndim == 2 and self.enhanced.planes is not None:
            raise ValueError("enhanced.planes are those of volumes; set ndim to 3, or leave them out")
        if self.ndim == 2 and self.target.ilp is None and self.features and self.features.ndim == 3:
            raise ValueError("features.ndim is 3, but images are planes; set ndim to 3")
        if len(self.enhanced.block) != self.ndim:
            raise ValueError(f"enhanced.block has {len(self.enhanced.block)} axes but ndim is {self.ndim}")
        if self.segmentor is not None:
            patch = self.segmentor.patch
            if len(patch) != self.ndim and "patch" in self.segmentor.model_fields_set:
                raise ValueError(f"segmentor.patch has {len(patch)} axes but ndim is {self.ndim}")
            if problem := self.segmentor.network.problem("segmentor.network", self.ndim):
                raise ValueError(problem)
        if self.segmentor is not None and self.segmentor.rounds > 1 and self.held_out == 0:
            raise ValueError("segmentor.rounds above 1 end by held-out strokes; set held_out above 0")
        if self.forest == "ilp" and (self.target.ilp is None or self.target.probabilities):
            raise ValueError("forest: ilp takes the forest of target.ilp; give that, and no probabilities")
        if self.forest == "ilp" and self.features is not None:
            raise ValueError("the forest of an ilastik project has features of its own; leave out features")
        if isinstance(self.enhancer, dict):
            if unknown := [name for name in self.enhancer if name not in self.classes[1:]]:
                raise ValueError(
                    f"enhancer is given for {unknown[0]}, but the classes besides the first are "
                    f"{', '.join(self.classes[1:])}; give it for one of them"
                )
            if self.enhanced.classes is not None:
                raise ValueError("enhancers are given by class; leave out enhanced.classes")
            if self.compare.source_net:
                raise ValueError("compare.source_net is the network of one enhancer's run; give one enhancer")
        one = (None,) if len(self.classes) == 2 else ()  # then it need not be said
        if self.objects is not None and self.objects.channel not in (*one, *self.classes[1:]):
            raise ValueError(
                f"objects.channel is {self.objects.channel}, but objects are of one foreground class; give "
                f"one of {', '.join(self.classes[1:])}"
            )
        if self.compare.supervised and self.target.labels is None:
            raise ValueError("compare.supervised needs dense labels; give target.labels, or leave it out")
        return self
