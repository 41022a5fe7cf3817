"""The command line: reads arguments, calls the library, prints what came out."""

import inspect
import json
import logging
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from shallow2deep.errors import Shallow2DeepError

# torch, numba and pydantic are imported by the commands that need them, so that --help is quick

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A few brush strokes to a good segmentation of a new microscopy data set.",
    epilog="Exit codes: 0 done, 1 failed, 2 unusable input or settings, 3 run in use by another process, "
    "4 given up on request, 130 or 143 stopped by Ctrl-C or SIGTERM (the same command goes on).",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from shallow2deep.version import VERSION

        typer.echo(f"shallow2deep {VERSION}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="say warnings and results only")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="also say what goes on inside")] = False,
) -> None:
    """Options that stand before the command."""
    if quiet or verbose:
        for handler in logging.getLogger("shallow2deep").handlers:  # a run's log.txt holds all in any case
            handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    if quiet:
        from shallow2deep.progress import hide_bars

        hide_bars()


def with_flags_of_adapt(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for each setting of `adapt` that is marked as one, in place of `**flags`."""
    from shallow2deep.settings import ADAPT

    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                (list[str] if flag.several else str) | None,
                typer.Option(help=flag.help, metavar=flag.metavar),
            ],
        )
        for flag in ADAPT
    ]
    command.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    command.__annotations__ |= {flag.name: flag.annotation for flag in flags}
    return command


Run = Annotated[
    Path, typer.Option("--run", help="folder for everything that is made; goes on where it stopped")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="any setting, e.g. --set enhancer.steps=500; repeatable"),
]
Axes = Annotated[
    str | None, typer.Option(help="axes of the raw files, e.g. zyx or yxc; inferred if not given")
]
Trust = Annotated[bool, typer.Option(help="run Python code in the enhancer's package, if it needs that")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]
Rescale = Annotated[
    bool, typer.Option("--rescale", help="bring images to the range of values that was learned on")
]
Slices = Annotated[str | None, typer.Option(help='z planes of volumes to use, e.g. "0:16" or "0,7,14"')]


def require_named(*data: Any) -> None:
    """Whether the files that settings name are there, before torch and numba take seconds to load."""
    from shallow2deep.errors import MissingDataError
    from shallow2deep.io.formats import split_name
    from shallow2deep.io.volumes import members

    fields = ("raw", "labels", "strokes", "probabilities")
    for name in (name for one in data for field in fields for name in getattr(one, field, None) or ()):
        for member in members(name):
            if not split_name(member)[0].exists():
                raise MissingDataError(f"{member}: there is no such file; check the path")


@app.command("enhancer-train")
def enhancer_train(
    config: Annotated[Path, typer.Argument(help="settings in YAML; `s2d init` writes a first one")],
    run: Run,
    with_source_net: Annotated[
        bool, typer.Option(help="also train the same network on raw, as a baseline")
    ] = False,
    set_: Set = None,
) -> None:
    """Train an enhancer on labelled source data: forests -> probabilities -> enhancer."""
    from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated, with_overrides
    from shallow2deep.settings.source import with_source_net as with_net

    values = with_overrides(read_yaml(config), set_ or ())
    settings = validated(EnhancerTrainConfig, with_net(values) if with_source_net else values, str(config))
    require_named(*settings.sources)
    from shallow2deep.commands.enhancer_train import enhancer_train as train

    enhancer = train(settings, run)
    typer.echo(f"enhancer: {enhancer}")
    typer.echo(f"curves:   tensorboard --logdir {run}")


@app.command()
@with_flags_of_adapt
def adapt(
    run: Run,
    config: Annotated[Path | None, typer.Argument(help="settings in YAML; flags override them")] = None,
    trust: Trust = False,
    compare: Annotated[
        bool, typer.Option(help="also make every baseline that the data and the enhancer's run allow")
    ] = False,
    json_: Json = False,
    set_: Set = None,
    **flags: Any,
) -> None:
    """Adapt to new data with strokes: target forest -> enhanced (-> segmentor) -> prediction."""
    from shallow2deep.settings import AdaptConfig, read_yaml, validated, with_flags, with_overrides

    values = with_flags(read_yaml(config) if config else {}, flags)
    values = with_overrides(values, set_ or ())
    settings = validated(AdaptConfig, values, str(config or "the command line"))
    require_named(settings.target)
    from shallow2deep.commands.adapt import adapt as run_adapt
    from shallow2deep.commands.compare import with_baselines
    from shallow2deep.io.atomic import read_json

    folder = run_adapt(with_baselines(settings, run) if compare else settings, run, trust)
    choice = read_json(folder / "choice.json")
    if json_:
        print_json(choice)
        return
    told = f"{choice['recommended']}: {choice['reason']}"
    print_rows(
        [
            ["recommended:", told],
            *(["to do:", text] for text in choice["advice"]),
            ["its maps:", str(folder)],
            ["all results:", f"{run}, in folders of their names"],
            ["report:", str(run / "report.html")],
        ]
    )


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="run of adapt, whose settings are used")],
    seeds: Annotated[int, typer.Option(min=1, help="how many; everything is made anew for each")] = 3,
    labels: Annotated[
        list[str] | None, typer.Option(help="dense labels of raw, for scores and an upper bound only")
    ] = None,
    test_raw: Annotated[list[str] | None, typer.Option(help="further images to score")] = None,
    test_labels: Annotated[list[str] | None, typer.Option(help="their dense labels")] = None,
    test_slices: Annotated[str | None, typer.Option(help="z planes of both to score")] = None,
    trust: Trust = False,
) -> None:
    """Make every result and baseline with several seeds, and print means and spreads."""
    from shallow2deep.commands.compare import compare as run_compare
    from shallow2deep.settings import RawData, absolute_names, validated

    def data(names: list[str] | None) -> RawData | None:
        if not names:
            return None
        values = absolute_names({"raw": names}, Path.cwd()) | {"slices": test_slices}
        return validated(RawData, values, "the command line")

    own = absolute_names({"labels": labels}, Path.cwd())["labels"] if labels else None
    result = run_compare(run, seeds, own, data(test_raw), data(test_labels), trust)
    typer.echo(result.text)
    typer.echo(f"written: {result.path}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="run of adapt, or a folder with a segmentor or source net")],
    raw: Annotated[list[str], typer.Option(help="file.h5:key, file.tif, 'folder/*.png' …")],
    out: Annotated[Path, typer.Option(help="folder, or one file ending in .h5, .zarr or .tif")],
    step: Annotated[
        str, typer.Option(help="recommended, forest, enhanced, segmentor, or the name of a result's folder")
    ] = "recommended",
    axes: Axes = None,
    slices: Slices = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(help="names or numbers, from 0, of the channels to use; those learned on if not given"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda …")] = "auto",
    rescale: Rescale = False,
    trust: Trust = False,
) -> None:
    """Apply a finished adaptation to further images of the target domain."""
    from shallow2deep.settings import PredictData, validated

    given = {"channels": channels} if channels else {}
    data = validated(PredictData, {"raw": raw, "axes": axes, "slices": slices} | given, "the command line")
    require_named(data)
    from shallow2deep.commands.predict import predict as run_predict

    for path in run_predict(model, data, out, step, device, trust, rescale):
        typer.echo(path)


@app.command()
def evaluate(
    prediction: Annotated[list[str], typer.Option(help="probability maps")],
    labels: Annotated[list[str], typer.Option(help="dense labels, matched by name")],
    valid: Annotated[
        list[str] | None, typer.Option(help="masks; pixels where they are 0 do not count")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="channel of the prediction, by name or number, from 0; the foreground's if not given"
        ),
    ] = None,
    label_value: Annotated[int | None, typer.Option(help="label of the foreground; else all > 0")] = None,
    label_slices: Annotated[str | None, typer.Option(help="z planes of the labels to use")] = None,
    ignore_label: Annotated[int | None, typer.Option(help="label of pixels that do not count")] = None,
    tolerance: Annotated[int, typer.Option(help="pixels this near to a boundary do not count")] = 0,
    each: Annotated[bool, typer.Option("--each", help="a line for each image, too")] = False,
    json_: Json = False,
    out: Annotated[Path | None, typer.Option(help="also write all scores as JSON")] = None,
) -> None:
    """Score probability maps against dense labels."""
    from shallow2deep.settings import RawData, validated

    def data(names: list[str], slices: str | None = None) -> RawData:
        return validated(RawData, {"raw": names, "slices": slices}, "the command line")

    parts = data(prediction), data(labels, label_slices), data(valid, label_slices) if valid else None
    from shallow2deep.commands.evaluate import evaluate as run_evaluate
    from shallow2deep.io.atomic import write_json

    number = int(channel) if channel is not None and channel.isdecimal() else channel
    scores = run_evaluate(*parts, number, label_value, tolerance, ignore_label)
    known = {n: {k: None if v != v else v for k, v in s.items()} for n, s in scores.items()}
    if json_:
        print_json(known)
    else:
        print_rows(score_rows(scores if each else {"all": scores["all"]}))
        if not each and len(scores) > 2:
            typer.echo(f"{len(scores) - 1} images; --each shows each")
    if out:
        write_json(out, known)
        typer.echo(f"written: {out}", err=json_)


_STYLES = {"finished": "green", "at work": "cyan", "interrupted": "yellow", "stale": "yellow", "to do": "dim"}


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns: on a terminal coloured and wrapped to its width, otherwise plain and not wrapped."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for row in rows:
            styles = ["bold", *(_STYLES.get(cell, "") for cell in row[1:])]
            cells = zip(row, styles, strict=True)
            grid.add_row(*(Text(cell, style, overflow="fold") for cell, style in cells))
        Console().print(grid)
        return
    lines = [[cell.split("\n") for cell in row] for row in rows]
    flat = [list(line) for row in lines for line in zip_longest(*row, fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    for line in flat:
        typer.echo("  ".join(c.ljust(n) for c, n in zip(line, widths, strict=True)).rstrip())


def print_json(values: object) -> None:
    """For other programs: nothing else is written to standard output."""
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False))


def score_rows(scores: dict[str, dict[str, float]]) -> list[list[str]]:
    """Scores for `print_rows`, a row per image."""
    columns = ("dice", "iou", "precision", "recall", "average_precision", "soft_dice")
    header = ["", *(c.replace("average_precision", "avg.prec.") for c in columns)]
    return [header, *([name, *(f"{s[c]:.3f}" for c in columns)] for name, s in scores.items())]


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run of enhancer-train or adapt")],
    out: Annotated[Path | None, typer.Option(help="file to write: .zip (or a folder), or .czann")] = None,
    format_: Annotated[str, typer.Option("--format", help="bioimageio, or czann for ZEN")] = "bioimageio",
    ilp: Annotated[
        Path | None, typer.Option(help="write the forest into this copy of the run's ilastik project instead")
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="of adapt: whose network; its first segmentor if not given")
    ] = None,
    onnx: Annotated[bool, typer.Option(help="bioimageio: also as ONNX")] = False,
    tile: Annotated[int, typer.Option(help="czann: side of the tiles, pixels")] = 1024,
    overlap: Annotated[
        str, typer.Option(help="czann: of the tiles, pixels; auto: what the network sees")
    ] = "auto",
    depth: Annotated[int | None, typer.Option(help="czann: planes of 3D tiles; 2D if not given")] = None,
    trust: Trust = False,
    set_: Set = None,
) -> None:
    """Write a trained network, or a forest, for ilastik, other bioimage.io programs or ZEN."""
    from shallow2deep.commands.export import ILP
    from shallow2deep.commands.export import export as run_export
    from shallow2deep.errors import InputError

    if (out is None) == (ilp is None) or (ilp and format_ != "bioimageio"):
        raise InputError("give either --out, for a network and its format, or --ilp, for a forest")
    if overlap != "auto" and not overlap.isdecimal():
        raise InputError(f'--overlap "{overlap}" came; give a number of pixels, or auto')
    weights = ("pytorch_state_dict", "torchscript", *(["onnx"] if onnx else []))
    pixels = None if overlap == "auto" else int(overlap)
    target, kind = (ilp, ILP) if ilp else (out, format_)
    assert target is not None
    typer.echo(run_export(run, target, kind, step, weights, tile, pixels, set_ or (), trust, depth))


@app.command()
def models(json_: Json = False) -> None:
    """List the enhancers that can be given by name: those that come along, and your own packages."""
    from shallow2deep.inputs.models import models as known_models

    if json_:
        fields = ("kind", "licence", "description")
        print_json(
            [
                {"name": m.name, "path": str(m.path)} | {f: getattr(m.package, f) for f in fields}
                for m in known_models()
            ]
        )
        return
    rows = []
    for model in known_models():
        licence = model.package.licence or "terms in its documentation"
        rows.append([model.name, model.package.kind, licence, f"{model.package.description}\n{model.path}"])
    print_rows(rows)


ilp_app = typer.Typer(no_args_is_help=True, help="Look into ilastik projects, and predict with them.")
app.add_typer(ilp_app, name="ilp")
Project = Annotated[
    Path, typer.Argument(help="project of Pixel Classification, or Trainable Domain Adaptation")
]


@ilp_app.command("info")
def ilp_info(project: Project) -> None:
    """Say what is in an ilastik project: data, labels, features, forest."""
    from shallow2deep.commands.project import describe

    for line in describe(project):
        typer.echo(line)


@ilp_app.command("predict")
def ilp_predict(
    project: Project,
    out: Annotated[Path, typer.Option(help="folder for the probability maps")],
    raw: Annotated[
        list[str] | None, typer.Option(help="other data to predict, in place of the project's own")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda …")] = "cpu",
    rescale: Rescale = False,
) -> None:
    """Predict with the forest that was trained in ilastik, without ilastik."""
    from shallow2deep.commands.project import predict_project

    for path in predict_project(project, out, raw or (), device=device, rescale=rescale):
        typer.echo(path)


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="run folder")], trust: Trust = False, json_: Json = False
) -> None:
    """Say which stages of a run are finished, and why others must run (again)."""
    from shallow2deep.commands.status import status as run_status

    found = run_status(run, trust)
    if json_:
        stages = {name: vars(state) for name, state in found.stages.items()}
        print_json({"command": found.command, "at_work": found.at_work, "stages": stages, "last": found.last})
        return
    typer.echo(f"{run}: {found.command}{', at work now' if found.at_work else ''}")
    print_rows([[f"  {name}", state.word, state.reason] for name, state in found.stages.items()])
    if found.last and found.last["kind"] == "progress":
        last = found.last
        left = f", about {last['left_s'] / 60:.0f} min left" if "left_s" in last else ""
        typer.echo(f"  {last['what']}: {last['done']} of {last['total']}{left}")


@app.command()
def init(path: Annotated[Path, typer.Argument(help="file to write")] = Path("enhancer.yaml")) -> None:
    """Write a commented configuration of enhancer-train for your own data."""
    from shallow2deep.commands.init import write_template

    typer.echo(f"written: {write_template(path)}; edit it, then: s2d enhancer-train {path} --run RUN")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for data, runs and results")] = Path("s2d-demo"),
) -> None:
    """Run everything on small images that come with the package; takes a few minutes."""
    from shallow2deep.commands.demo import run_demo

    result = run_demo(out)
    print_rows(score_rows(result.scores))
    print_rows([[f"{name}:", str(path)] for name, path in result.places.items()])


class _Handler(logging.Handler):
    """Log lines on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def main() -> NoReturn:
    """Entry point of `s2d`; errors of ours become one line and their exit code."""
    logger = logging.getLogger("shallow2deep")
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [_Handler()]
    try:
        app(standalone_mode=True)
    except Shallow2DeepError as error:
        typer.echo(f"s2d: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        typer.echo(f"s2d: {error}", err=True)
        sys.exit(1)
    sys.exit(0)
