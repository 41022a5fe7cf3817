"""`s2d search`: a command's runs with other settings, and which were the best."""

import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.commands.train import train
from shallow2deep.errors import InputError, NotFiniteError, SettingsError, one_line
from shallow2deep.evaluation.search_pictures import save_importance, save_parallel
from shallow2deep.inputs.labelled_images import LABELLED_NET
from shallow2deep.inputs.models import ENHANCER
from shallow2deep.io.atomic import one_writer, read_json, write_json, write_text
from shallow2deep.io.tables import write_csv
from shallow2deep.networks.model import load_spec
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import (
    AdaptConfig,
    EnhancerTrainConfig,
    Settings,
    Space,
    Span,
    TrainConfig,
    dump_yaml,
    flow_yaml,
    model_of,
    validated,
    with_values,
)
from shallow2deep.stages.prediction import CHOICE, PREDICTION

log = logging.getLogger(__name__)

Strategy = Literal["random", "grid", "tpe"]
TRIALS, BEST, SCORE, FAILED = "trials.json", "best.yaml", "score", "failed"
_STARTING = 5  # trials of tpe that are random


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        command: whose runs are made: enhancer-train, train or adapt.
        values: its settings, apart from those of the space.
        trials: how many at most; a grid has no more than its points.
    """

    command: str
    values: Mapping[str, Any]
    space: Space
    strategy: Strategy
    trials: int
    seed: int = 0

    def config(self, chosen: Mapping[str, Any]) -> Settings:
        """The settings of a trial."""
        found = with_values(self.values, chosen)
        return validated(model_of(self.command), found, f"a trial with {flow_yaml(dict(chosen))}")

    def check(self) -> None:
        """Raises InputError or SettingsError where some of it cannot be used."""
        if self.strategy not in get_args(Strategy):
            raise InputError(f"strategy {self.strategy} came; give {', '.join(get_args(Strategy))}")
        if self.command not in _RUNS:
            raise InputError(f"{self.command} has no score to search by; give one of {', '.join(_RUNS)}")
        for name, values in self.space.items():
            if self.strategy == "grid" and isinstance(values, Span) and values.step is None:
                raise SettingsError(f"{name}: a grid needs a step in the span, or a list of values; give one")
            for value in values.ends if isinstance(values, Span) else values:
                self.config({name: value})

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change while a search goes on."""
        space = {n: v.model_dump() if isinstance(v, Span) else v for n, v in self.space.items()}
        found = {"command": self.command, "settings": self.values, "space": space}
        return json.loads(json.dumps(found | {"strategy": self.strategy, "seed": self.seed}, default=str))


def search(wanted: Search, run: str | Path) -> Path:
    """Runs trials one after another; goes on where an earlier call stopped, and ends as if it had not.

    Stages that come out the same in several trials are made once.

    Args:
        run: folder that gets `trials/…`, the table `trials.csv`, pictures, and the best settings.

    Returns:
        The file with the best settings.

    Raises:
        InputError: settings that cannot be used, or another search in the folder.
        Interrupted: it was stopped; the same call goes on.
    """
    run = Path(run)
    wanted.check()
    _require_optuna()
    run.mkdir(parents=True, exist_ok=True)
    with one_writer(run):
        trials = _begun(wanted, run)
        for number in range(_count(wanted)):
            if number == len(trials):
                trials.append({"settings": proposed(wanted, trials, number), SCORE: None})
                _note(wanted, run, trials)
            if trials[number][SCORE] is None and FAILED not in trials[number]:
                _make(wanted, run, trials, number)
                _note(wanted, run, trials)
        return _told(wanted, run, trials[: _count(wanted)])


def _count(wanted: Search) -> int:
    if wanted.strategy != "grid":
        return wanted.trials
    return min(wanted.trials, math.prod(len(points(values)) for values in wanted.space.values()))


def _begun(wanted: Search, run: Path) -> list[dict[str, Any]]:
    """The trials of earlier calls."""
    if not (run / TRIALS).is_file():
        if any(not path.name.startswith(".") for path in run.iterdir()):
            raise InputError(f"{run} holds other things than a search; choose a new folder")
        return []
    found = read_json(run / TRIALS)
    if found["search"] != wanted.identity:
        raise InputError(
            f"{run} holds a search of other settings, space, strategy or seed; give these, or another --run"
        )
    return [trial | {"settings": _as_in(wanted.space, trial["settings"])} for trial in found["trials"]]


def _as_in(space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were read, in the order of the space; JSON keeps none."""
    return {name: _value(values, _known(values, settings[name])) for name, values in space.items()}


def _note(wanted: Search, run: Path, trials: Sequence[Mapping[str, Any]]) -> None:
    write_json(run / TRIALS, {"search": wanted.identity, "trials": list(trials)})


def points(values: list[Any] | Span) -> list[Any]:
    """All values of a list, or of a span with a step.

    >>> points(Span(low=1, high=6, step=2)), points(["a", "b"])
    ([1, 3, 5], ['a', 'b'])
    """
    if not isinstance(values, Span):
        return values
    assert values.step is not None
    count = int((values.high - values.low) / values.step + 1e-9) + 1
    found = [min(round(values.low + n * values.step, 12), values.high) for n in range(count)]
    return [int(n) for n in found] if values.is_whole else found


def proposed(wanted: Search, trials: Sequence[Mapping[str, Any]], number: int) -> dict[str, Any]:
    """The settings of a trial; they depend on its number and the trials before alone."""
    if wanted.strategy == "grid":
        grid = itertools.product(*(points(values) for values in wanted.space.values()))
        return dict(zip(wanted.space, next(itertools.islice(grid, number, None)), strict=True))
    import optuna

    seed = integer_seed(wanted.seed, "search", number)
    sampler = (
        optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTING)
        if wanted.strategy == "tpe"
        else optuna.samplers.RandomSampler(seed=seed)
    )
    asked = _study(wanted, trials[:number], sampler).ask(_distributions(wanted.space)).params
    return {name: _value(values, asked[name]) for name, values in wanted.space.items()}


def _study(wanted: Search, trials: Sequence[Mapping[str, Any]], sampler: Any = None) -> Any:
    """Optuna's, with all trials that have a score."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = _distributions(wanted.space)
    for trial in _scored(trials):
        known = {name: _known(wanted.space[name], value) for name, value in trial["settings"].items()}
        study.add_trial(
            optuna.trial.create_trial(params=known, distributions=distributions, value=trial[SCORE])
        )
    return study


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(values, Span):
            found[name] = CategoricalDistribution([_known(values, value) for value in values])
        elif values.is_whole:
            low, high, step = (int(n) for n in (*values.ends, values.step or 1))
            found[name] = IntDistribution(low, high, log=values.log, step=step)
        else:
            found[name] = FloatDistribution(values.low, values.high, log=values.log, step=values.step)
    return found


def _known(values: list[Any] | Span, value: Any) -> Any:
    """A value as optuna knows it: those of lists as text."""
    return value if isinstance(values, Span) else json.dumps(value, sort_keys=True)


def _value(values: list[Any] | Span, known: Any) -> Any:
    return known if isinstance(values, Span) else next(v for v in values if _known(values, v) == known)


def _make(wanted: Search, run: Path, trials: Sequence[dict[str, Any]], number: int) -> None:
    """Scores a trial, or notes why it cannot be scored: settings that do not go together, or diverge."""
    trial = trials[number]
    try:
        trial[SCORE] = _score_of(wanted, run, trials, number)
        log.info("trial %d: %s, %s", number, trial[SCORE], flow_yaml(trial["settings"]))
    except (InputError, NotFiniteError) as error:
        trial[FAILED] = one_line(error)
        log.warning("trial %d failed, %s: %s", number, flow_yaml(trial["settings"]), error)


def _scored(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [trial for trial in trials if trial[SCORE] is not None]


def _score_of(wanted: Search, run: Path, trials: Sequence[Mapping[str, Any]], number: int) -> float:
    """Makes a trial's run, with the finished stages of those before that are the same."""
    place = run / "trials" / f"{number:04d}"
    beside = [run / "trials" / f"{n:04d}" for n in range(number)]
    make, score = _RUNS[wanted.command]
    make(wanted.config(trials[number]["settings"]), place, beside)
    return round(score(place), 6)


def _of_network(stage: str) -> Callable[[Path], float]:
    return lambda run: float(load_spec(run / stage).record["training"]["best_score"])


def _of_adaptation(run: Path) -> float:
    """The mean of what is recommended for each class, on held-out strokes."""
    choice = read_json(run / PREDICTION / CHOICE)
    if not any(choice["held_out_strokes"].values()):
        raise InputError(f"{run}: no strokes were held out to judge by; paint more, or set held_out")
    chosen = [one["recommended"] for one in choice["of_classes"].values()]
    return float(np.mean([choice["scores"][name]["accuracy"] for name in chosen]))


def _train(config: TrainConfig, run: Path, beside: Sequence[Path]) -> None:
    train(config, run, beside)


def _enhancer_train(config: EnhancerTrainConfig, run: Path, beside: Sequence[Path]) -> None:
    enhancer_train(config, run, beside)


def _adapt(config: AdaptConfig, run: Path, beside: Sequence[Path]) -> None:
    adapt(config, run, beside=beside)


_RUNS: Mapping[str, tuple[Callable[..., None], Callable[[Path], float]]] = {
    "enhancer-train": (_enhancer_train, _of_network(ENHANCER)),
    "train": (_train, _of_network(LABELLED_NET)),
    "adapt": (_adapt, _of_adaptation),
}


def _told(wanted: Search, run: Path, trials: Sequence[Mapping[str, Any]]) -> Path:
    """Writes the table, the pictures, and the best settings."""
    scored = _scored(trials)
    if not scored:
        raise InputError(f"no trial could be scored; the first: {trials[0][FAILED]}")
    best = max(scored, key=lambda trial: trial[SCORE])  # the first of equals
    write_text(run / BEST, dump_yaml(wanted.config(best["settings"])))
    rows = [_plain(trial) for trial in trials]
    columns = {name: np.array([row[name] for row in rows], object) for name in rows[0]}
    write_csv(run / "trials.csv", {"trial": np.arange(len(rows)), **columns})
    save_parallel(run / "parallel.png", [_plain(trial) for trial in scored], SCORE)
    if importance := _importance(wanted, scored):
        save_importance(run / "importance.png", importance)
    return run / BEST


def _plain(trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as a row of a table; without a number as its score if it failed."""
    row = {**trial["settings"], SCORE: math.nan if trial[SCORE] is None else trial[SCORE]}
    return {
        name: value if isinstance(value, int | float) else flow_yaml(value) for name, value in row.items()
    }


def _importance(wanted: Search, trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How much of the scores' variance each setting explains, by fANOVA; empty where nothing varies."""
    import optuna

    if len(trials) < 2 or np.ptp([trial[SCORE] for trial in trials]) == 0:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=wanted.seed)
    found: dict[str, float] = optuna.importance.get_param_importances(
        _study(wanted, trials), evaluator=evaluator
    )
    return found


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            "optuna is missing, which a search needs; install it by: pip install 'shallow2deep[search]'"
        ) from None
