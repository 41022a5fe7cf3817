"""All settings of `s2d enhancer-train`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shallow2deep.settings.base import Classes, Engine, Jobs, different
from shallow2deep.settings.change import Changes
from shallow2deep.settings.data import SourceData
from shallow2deep.settings.features_forests import FeatureSettings, ForestsSettings, ProbabilitiesSettings
from shallow2deep.settings.in_3d import InTwoOrThree
from shallow2deep.settings.networks import EnhancerSettings, NetworkSettings, TrainingSettings
from shallow2deep.settings.package import PackageSettings


class EnhancerTrainConfig(InTwoOrThree):
    """All settings of `s2d enhancer-train`."""

    seed: int = Field(0, ge=0)
    name: str = "enhancer"
    ndim: Literal[2, 3] = Field(2, description="2: planes are images of their own; 3: networks see volumes")
    classes: Classes = ("background", "foreground")
    sources: tuple[SourceData, ...] = Field(min_length=1)
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of each source's images, the last ones, that is held out for validation"
    )
    leave_out: Annotated[tuple[str, ...], AfterValidator(different)] = Field(
        (), description="names of sources that forests learn on but networks do not: to judge by them"
    )
    features: FeatureSettings = FeatureSettings()
    forests: ForestsSettings = ForestsSettings()
    probabilities: ProbabilitiesSettings = ProbabilitiesSettings()
    enhancer: EnhancerSettings = EnhancerSettings()
    source_net: TrainingSettings | None = Field(
        None, description="also train the same network on the source's raw, as a baseline"
    )
    package: PackageSettings = PackageSettings()
    engine: Engine = Field("numba", description="what computes the filters; fastfilters if it is installed")
    jobs: Jobs = Field(-1, description="forests or images at the same time; -1: one per core")
    changes: Changes = ()

    @property
    def networks(self) -> list[NetworkSettings]:
        """All that are trained."""
        return [one.network for one in (self.enhancer, self.source_net) if one is not None]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        trained = {"enhancer": self.enhancer, "source_net": self.source_net}
        cuts = {f"{name}.patch": net.patch for name, net in trained.items() if net is not None}
        sections = {"forests": self.forests, "probabilities": self.probabilities} | trained
        set_by_hand = {
            f"{name}.patch" for name, one in sections.items() if one and "patch" in one.model_fields_set
        }
        patches = {"forests.patch": self.forests.patch, "probabilities.patch": self.probabilities.patch}
        problems = [
            f"{name} has {len(patch)} axes but ndim is {self.ndim}"
            for name, patch in (patches | cuts).items()
            if len(patch) != self.ndim and name in set_by_hand  # others are made to fit
        ]
        problems += [
            problem
            for name, net in trained.items()
            if net is not None and (problem := net.network.problem(f"{name}.network", self.ndim))
        ]
        problems += [
            f"{name} is larger than probabilities.patch, from which it is cut"
            for name, cut in cuts.items()
            if name in set_by_hand  # others are made to fit
            and any(a > b for a, b in zip(cut, self.probabilities.patch, strict=False))
        ]
        if self.features.ndim == 3 and self.ndim == 2:
            problems.append("features.ndim is 3, but images are planes; set ndim to 3")
        fewest = min(self.forests.count, self.forests.validation_count)
        if self.probabilities.forests_per_patch > fewest:
            problems.append(
                f"probabilities.forests_per_patch is {self.probabilities.forests_per_patch}, but there are "
                f"{self.forests.count} forests and {self.forests.validation_count} for validation; lower it"
            )
        names = [source.name for source in self.sources]
        if unknown := sorted(set(self.leave_out) - set(names)):
            problems.append(f"leave_out names {', '.join(unknown)}, which no source is called")
        if self.leave_out and set(self.leave_out) >= set(names):
            problems.append("leave_out leaves no source to learn on")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def of_source_net(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that add a source net like the enhancer of `values`; none if they have one."""
    enhancer = values.get("enhancer") or {}
    if values.get("source_net") is not None or not isinstance(enhancer, Mapping):
        return {}
    own = ("boundary", "raw", "previews", "weights", "frozen")
    shared = {name: value for name, value in enhancer.items() if name not in own}
    return {"source_net": shared}
