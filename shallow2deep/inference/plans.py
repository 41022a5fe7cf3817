"""How forests, enhancers, networks on raw and mixed results predict by steps on blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from shallow2deep.inference import enhance_blocks, forest_maps, network_maps
from shallow2deep.inference.block_loop import BlockWork
from shallow2deep.inference.derived import Completed, Concatenated, Normalised, Picked
from shallow2deep.inference.enhance_blocks import network_step
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inference.forest_maps import ForestPredictor
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.network_maps import NetworkPredictor
from shallow2deep.inference.predictor import BlockSource
from shallow2deep.inference.steps import Desk, Step, fingerprint
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output

Planned = tuple[list[Step], BlockSource]
"""Steps, and a view of the map `(K, *spatial)` that they make."""

Plan = Callable[[BlockSource, Moments, Desk], Planned]
"""From raw `([C,] *spatial)`, its mean and deviation, and a place for what is needed meanwhile."""


def forest_steps(predictor: ForestPredictor, raw: BlockSource, moments: Moments, desk: Desk) -> Planned:
    """See `forest_map_on_disk`; one predictor serves all planes."""
    forest = predictor.forest
    shape = forest_maps.require_fitting(forest, raw.shape)
    block = (forest_maps.BLOCK[forest.spec.ndim],) * forest.spec.ndim
    stored = desk.array("forest", (len(forest.classes), *shape), block)
    about = [fingerprint(predictor), list(block), list(stored.shape)]
    work = BlockWork(predictor, raw, stored, block)
    return [Step(desk.named("forest"), work, not predictor.on_processor, makes=stored, about=about)], stored


def enhanced_steps(
    to_map: Plan, enhancers: Enhancers, raw: BlockSource, moments: Moments, desk: Desk
) -> Planned:
    """A forest's map through enhancers."""
    steps, p = to_map(raw, moments, desk)
    further, view = enhance_blocks.enhanced_steps(enhancers, p, raw, desk)
    return steps + further, view


def raw_steps(
    predictor: NetworkPredictor, spec: ModelSpec, raw: BlockSource, moments: Moments, desk: Desk
) -> Planned:
    """See `predict_raw`; one predictor, without moments, serves all planes."""
    network_maps.require_channels(spec, raw.shape[0] if len(raw.shape) > spec.ndim else 1)
    known = moments if spec.normalisation is None else Moments(*spec.normalisation)
    block = (network_maps.BLOCK[spec.ndim],) * spec.ndim
    step, view = network_step("network", predictor, Normalised(raw, known), block, desk)
    return [replace(step, about=[step.about, known.mean, known.deviation])], view


def completed_steps(
    plan: Plan, outputs: tuple[Output, ...], raw: BlockSource, moments: Moments, desk: Desk
) -> Planned:
    """With the channels that are written, see `outputs.completed`."""
    steps, view = plan(raw, moments, desk)
    return steps, Completed(view, outputs)


def mixed_steps(
    parts: Mapping[str, tuple[Plan, Sequence[Output]]], raw: BlockSource, moments: Moments, desk: Desk
) -> Planned:
    """Each class as the result that was chosen for it has it; see `outputs.picked`.

    Args:
        parts: by the name of the class; a plan that is there several times is followed once.
    """
    made: dict[int, BlockSource] = {}
    steps, views, chosen = list[Step](), list[BlockSource](), []
    for name, (plan, outputs) in parts.items():
        if id(plan) not in made:
            further, made[id(plan)] = plan(raw, moments, desk.part(f"result{len(made)}"))
            steps += further
        channels = tuple(n for n, output in enumerate(outputs) if output.class_name == name)
        views.append(Picked(made[id(plan)], channels))
        chosen.append([name, [*made].index(id(plan)), channels])
    return [replace(steps[0], about=[steps[0].about, chosen]), *steps[1:]], Concatenated(tuple(views))
