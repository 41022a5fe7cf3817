"""The command line: reads arguments, calls the library, prints what came out."""

import inspect
import json
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from shallow2deep.errors import Shallow2DeepError

if TYPE_CHECKING:
    from shallow2deep.runs.detached import Started

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
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="say warnings and results only")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="also say what goes on inside")] = False,
    server: Annotated[
        str | None,
        typer.Option(
            help="where adapt and enhancer-train do their work: address of an s2d serve, or its file"
        ),
    ] = None,
) -> None:
    """Options that stand before the command."""
    if server and ctx.invoked_subcommand not in ("adapt", "enhancer-train"):
        from shallow2deep.errors import InputError

        raise InputError(
            f"--server is for adapt and enhancer-train, not for {ctx.invoked_subcommand}; leave it out"
        )
    ctx.obj = server
    if quiet or verbose:
        for handler in logging.getLogger("shallow2deep").handlers:  # a run's log.txt holds all in any case
            handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    if quiet:
        from shallow2deep.progress import hide_bars

        hide_bars()


def with_flags_of_adapt(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for each setting of `adapt` that is marked as one, in place of `**flags`."""
    from shallow2deep.settings import ADAPT

    types = {"one": str | None, "several": list[str] | None, "switch": bool | None}
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                types[flag.kind],
                typer.Option(f"--{flag.name.replace('_', '-')}", help=flag.help, metavar=flag.metavar),
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
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(help="settings in YAML; `s2d init` writes a first one")],
    run: Run,
    with_source_net: Annotated[
        bool, typer.Option(help="also train the same network on raw, as a baseline")
    ] = False,
    set_: Set = None,
) -> None:
    """Train an enhancer on labelled source data: forests -> probabilities -> enhancer."""
    from shallow2deep.settings import EnhancerTrainConfig, Level, levels_of, resolved, together
    from shallow2deep.settings.source import of_source_net

    levels = levels_of("enhancer-train", config, set_ or ())
    if with_source_net:
        levels.append(Level("command line", of_source_net(together(levels)[0])))
    settings = resolved(EnhancerTrainConfig, levels)
    require_named(*settings.sources)
    if ctx.obj:
        from shallow2deep.service.elsewhere import run_elsewhere

        run_elsewhere(ctx.obj, "enhancer-train", settings, run)
        enhancer = run / "enhancer"
    else:
        from shallow2deep.commands.enhancer_train import enhancer_train as train

        enhancer = train(settings, run)
    typer.echo(f"enhancer: {enhancer}")
    typer.echo(f"curves:   tensorboard --logdir {run}")


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(help="settings in YAML; `s2d init --for train` writes a first one")
    ],
    run: Run,
    set_: Set = None,
) -> None:
    """Train one network on labelled raw images, as a segmentor of such images."""
    from shallow2deep.settings import TrainConfig, levels_of, resolved

    settings = resolved(TrainConfig, levels_of("train", config, set_ or ()))
    require_named(*settings.sources, *settings.validation_sources)
    from shallow2deep.commands.train import train as run_train

    network = run_train(settings, run)
    typer.echo(f"network: {network}")
    typer.echo(f"curves:  tensorboard --logdir {run}")


@app.command()
def pretrain(
    run: Run,
    config: Annotated[
        Path | None,
        typer.Argument(help="settings in YAML, `s2d init --for pretrain` writes them; flags override"),
    ] = None,
    raw: Annotated[
        list[str] | None, typer.Option(help="images: file.h5:key, file.tif, 'folder/*.png' …")
    ] = None,
    task: Annotated[str | None, typer.Option(help="masking (if not given) or denoise")] = None,
    axes: Axes = None,
    slices: Slices = None,
    set_: Set = None,
) -> None:
    """Train a network to restore raw images, without labels; others start from it by `weights`."""
    from shallow2deep.errors import InputError
    from shallow2deep.settings import Level, PretrainConfig, absolute_names, levels_of, resolved

    if (axes or slices) and not raw:
        raise InputError("--axes and --slices are those of --raw; give it, or set them in the file")
    how = {name: value for name, value in (("axes", axes), ("slices", slices)) if value}
    flags = absolute_names({"images": [{"raw": raw, **how}]} if raw else {}, Path.cwd())
    levels = levels_of("pretrain", config, set_ or ())
    levels.append(Level("command line", flags | ({"hiding": {"task": task}} if task else {})))
    settings = resolved(PretrainConfig, levels)
    require_named(*settings.images, *settings.validation_images)
    from shallow2deep.commands.pretrain import pretrain as run_pretrain

    network = run_pretrain(settings, run)
    typer.echo(f"network: {network}")
    typer.echo(f"checks:  {network / 'checks'}")
    typer.echo(f"curves:  tensorboard --logdir {run}")


@app.command()
@with_flags_of_adapt
def adapt(
    ctx: typer.Context,
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
    from shallow2deep.settings import AdaptConfig, levels_of, resolved

    settings = resolved(AdaptConfig, levels_of("adapt", config, set_ or (), flags))
    require_named(settings.target)
    from shallow2deep.io.atomic import read_json

    if ctx.obj:
        from shallow2deep.errors import InputError
        from shallow2deep.service.elsewhere import run_elsewhere

        if trust or compare:
            raise InputError("--trust and --compare are not for work on a server; leave them out")
        run_elsewhere(ctx.obj, "adapt", settings, run)
        folder = run / "prediction"
    else:
        from shallow2deep.commands.adapt import adapt as run_adapt
        from shallow2deep.commands.compare import with_baselines

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
            *([["objects:", str(run / "objects" / "objects.csv")]] if settings.objects else []),
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
    rescale: Annotated[
        bool, typer.Option("--rescale", help="bring test images to the range of values that was learned on")
    ] = False,
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
    result = run_compare(run, seeds, own, data(test_raw), data(test_labels), trust, rescale)
    typer.echo(result.text)
    typer.echo(f"written: {result.path}")


@app.command()
def predict(
    model: Annotated[
        Path, typer.Argument(help="run of adapt or train, or a folder with a segmentor or source net")
    ],
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
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="pixels that windows share, in place of blocks that see around them"),
    ] = None,
    border_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="with --overlap: of windows near their borders; 0.1 if not given"),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="of one image into a .zarr: processes that work on its blocks")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="the same by dask: local:4, tcp://HOST:PORT, or a scheduler's .json")
    ] = None,
    trust: Trust = False,
) -> None:
    """Apply a finished adaptation to further images of the target domain."""
    from shallow2deep.errors import InputError
    from shallow2deep.settings import PredictData, validated

    if border_weight is not None and overlap is None:
        raise InputError("--border-weight is that of windows that overlap; give --overlap, too")
    given = {"channels": channels} if channels else {}
    data = validated(PredictData, {"raw": raw, "axes": axes, "slices": slices} | given, "the command line")
    require_named(data)
    from shallow2deep.commands.predict import predict as run_predict

    weight = 0.1 if border_weight is None else border_weight
    for path in run_predict(
        model, data, out, step, device, trust, rescale, overlap, weight, processes, cluster
    ):
        typer.echo(path)


@app.command()
def objects(
    maps: Annotated[list[str], typer.Argument(help="run of adapt, or maps: file.h5, 'folder/*.h5' …")],
    out: Annotated[Path, typer.Option(help="folder for labels, measurements and masks")],
    config: Annotated[Path | None, typer.Option(help="settings in YAML; flags override them")] = None,
    kind: Annotated[
        str | None, typer.Option(help="blobs, or cells where the foreground is the membranes between them")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="of the maps: name of a class, or number from 0")
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(help="of the foreground, or auto: chosen on the run's held-out strokes")
    ] = None,
    min_size: Annotated[
        str | None, typer.Option(help='of an object: pixels, or such as "5 um2", "30 um3"')
    ] = None,
    max_size: Annotated[str | None, typer.Option(help="likewise")] = None,
    split: Annotated[
        float | None, typer.Option(help="narrowing that parts touching objects, pixels; larger parts fewer")
    ] = None,
    clear_border: Annotated[
        bool, typer.Option("--clear-border", help="leave out objects at borders")
    ] = False,
    by_planes: Annotated[
        bool, typer.Option("--by-planes", help="cut volumes plane by plane, and link objects by overlap")
    ] = False,
    raw: Annotated[list[str] | None, typer.Option(help="images to measure intensities of")] = None,
    masks: Annotated[bool, typer.Option("--masks", help="also write the maps above the threshold")] = False,
    format_: Annotated[str, typer.Option("--format", help="of the labels: tif or zarr")] = "tif",
    in_blocks: Annotated[
        bool, typer.Option("--in-blocks", help="maps larger than memory: connected parts, not parted further")
    ] = False,
    step: Annotated[
        str, typer.Option(help="of a run: recommended, forest, enhanced, segmentor, or a result's folder")
    ] = "recommended",
    axes: Annotated[
        str | None, typer.Option(help="axes of the maps, e.g. zyxc; inferred if not given")
    ] = None,
    voxel_size: Annotated[str | None, typer.Option(help="nm per spatial axis, e.g. 50,4.6,4.6")] = None,
    trust: Trust = False,
    json_: Json = False,
    set_: Set = None,
) -> None:
    """Cut maps into objects: label images, measurements, and masks."""
    from shallow2deep.settings import RawData, read_yaml, validated, with_overrides

    size = voxel_size.split(",") if voxel_size else None
    data = validated(RawData, {"raw": maps, "axes": axes, "voxel_size": size}, "the command line")
    images = validated(RawData, {"raw": raw}, "the command line") if raw else None
    flags = {"kind": kind, "channel": channel, "threshold": threshold, "split": split}
    flags |= {"min_size": min_size, "max_size": max_size}
    values = (read_yaml(config) if config else {}) | {k: v for k, v in flags.items() if v is not None}
    values |= {name: True for name, on in (("clear_border", clear_border), ("by_planes", by_planes)) if on}
    values = with_overrides(values, set_ or ())
    require_named(images, *([] if Path(maps[0]).is_dir() else [data]))  # a run is no folder of images
    from shallow2deep.commands.find_objects import find_objects, settings_of

    settings = settings_of(data, values, str(config or "the command line"))
    found = find_objects(data, out, settings, images, step, masks, format_, trust, in_blocks)
    if json_:
        told = {"threshold": found.threshold, "threshold_is": found.threshold_is, "table": str(found.table)}
        print_json(told | {"objects": dict(found.counts)})
        return
    count = sum(found.counts.values())
    print_rows(
        [
            ["objects:", f"{count} in {len(found.counts)} images"],
            ["threshold:", f"{found.threshold:g}, {found.threshold_is}"],
            ["labels and masks:" if masks else "labels:", str(out)],
            ["measurements:", str(found.table)],
        ]
    )


@app.command()
def evaluate(
    prediction: Annotated[list[str], typer.Option(help="probability maps, or label images with --objects")],
    labels: Annotated[list[str], typer.Option(help="dense labels, matched by name")],
    valid: Annotated[
        list[str] | None, typer.Option(help="masks; pixels where they are 0 do not count")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            "--channel",
            "--class",
            help="class or channel of the maps, by name or number, from 0; the foreground's if not given",
        ),
    ] = None,
    label_value: Annotated[int | None, typer.Option(help="label of the foreground; else all > 0")] = None,
    label_slices: Annotated[str | None, typer.Option(help="z planes of the labels to use")] = None,
    ignore_label: Annotated[int | None, typer.Option(help="label of pixels that do not count")] = None,
    tolerance: Annotated[int, typer.Option(help="pixels this near to a boundary do not count")] = 0,
    objects: Annotated[
        bool, typer.Option("--objects", help="both are objects, each with a number: score object by object")
    ] = False,
    each: Annotated[bool, typer.Option("--each", help="a line for each image, too")] = False,
    json_: Json = False,
    out: Annotated[Path | None, typer.Option(help="also write all scores as JSON")] = None,
) -> None:
    """Score probability maps against dense labels, or objects against labelled ones."""
    from shallow2deep.errors import InputError
    from shallow2deep.settings import RawData, validated

    def data(names: list[str], slices: str | None = None) -> RawData:
        return validated(RawData, {"raw": names, "slices": slices}, "the command line")

    parts = data(prediction), data(labels, label_slices), data(valid, label_slices) if valid else None
    from shallow2deep.commands.evaluate import evaluate as run_evaluate
    from shallow2deep.commands.evaluate import evaluate_objects
    from shallow2deep.io.atomic import write_json

    if objects:
        unused = {
            "valid": valid,
            "channel": channel,
            "label-value": label_value,
            "label-slices": label_slices,
            "ignore-label": ignore_label,
            "tolerance": tolerance or None,
        }
        if given := [name for name, value in unused.items() if value is not None]:
            raise InputError(f"--{given[0]} has no meaning with --objects; leave it out")
        scores = evaluate_objects(*parts[:2])
    else:
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


_STYLES = {
    "finished": "green",
    "at work": "cyan",
    "paused": "yellow",
    "interrupted": "yellow",
    "stale": "yellow",
    "to do": "dim",
}


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
    """Scores for `print_rows`, a row for each image or step; all of pixels, or all of objects."""
    of_pixels = ("dice", "iou", "precision", "recall", "average_precision", "soft_dice")
    of_objects = ("ap_50", "ap_75", "average_precision", "matched_dice", "vi_split", "vi_merge")
    columns = of_objects if all("ap_50" in one for one in scores.values()) else of_pixels
    header = ["", *(c.replace("average_precision", "avg.prec.") for c in columns)]
    return [header, *([name, *(f"{s[c]:.3f}" for c in columns)] for name, s in scores.items())]


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="run of enhancer-train, adapt or train")],
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


@app.command()
def network(
    name: Annotated[
        str, typer.Argument(help="settings of enhancer-train, a folder with a network, or an enhancer's name")
    ],
    patch: Annotated[str | None, typer.Option(help="of training, pixels, e.g. 32,80,80")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="patches at a time")] = None,
) -> None:
    """Say which sizes a network takes, how far it sees, and how much memory it needs."""
    from shallow2deep.commands.network import describe_network
    from shallow2deep.errors import InputError

    sides = None if patch is None else patch.split(",")
    if sides and not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise InputError(f'--patch "{patch}" came; give pixels per axis, e.g. 32,80,80')
    print_rows(describe_network(name, [int(side) for side in sides] if sides else None, batch))


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="settings in YAML, of the command that is searched for")],
    space: Annotated[Path, typer.Option(help="YAML: setting: [values], or setting: {low: …, high: …}")],
    run: Annotated[Path, typer.Option(help="folder for all trials; goes on where it stopped")],
    command: Annotated[str, typer.Option(help="enhancer-train, train or adapt")] = "enhancer-train",
    strategy: Annotated[
        str, typer.Option(help="random, grid or tpe, which learns from trials before")
    ] = "tpe",
    trials: Annotated[int, typer.Option(min=1, help="at most")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="of the search, not of the trials")] = 0,
    set_: Set = None,
) -> None:
    """Try settings over and over, and write down the best ones."""
    from shallow2deep.settings import levels_of, read_space, together

    values, _ = together(levels_of(command, config, set_ or ()))
    wanted = read_space(space)
    from shallow2deep.commands.search import Search
    from shallow2deep.commands.search import search as run_search

    best = run_search(Search(command, values, wanted, strategy, trials, seed), run)  # type: ignore[arg-type]
    typer.echo(f"table:         {run / 'trials.csv'}")
    typer.echo(f"pictures:      {run / 'parallel.png'}, importance.png")
    typer.echo(f"best settings: {best}")


@app.command("inspect-batch")
def inspect_batch(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CONFIG",
            help="run of enhancer-train, whose pool is finished, or of train; or settings of train in YAML",
        ),
    ],
    out: Annotated[Path, typer.Option(help="PNG")],
    step: Annotated[int, typer.Option(min=0, help="of training")] = 0,
    net: Annotated[str, typer.Option("--network", help="enhancer, with_raw or source_net")] = "enhancer",
    trust: Trust = False,
) -> None:
    """Draw the samples that a network is trained on at a step, as it sees them, with their labels."""
    from shallow2deep.commands.inspect_batch import inspect_batch as run_inspect_batch

    typer.echo(run_inspect_batch(run, out, step, net, trust))


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
    now = found.standing
    if json_:
        print_json(
            {
                "command": found.command,
                "state": found.word,
                "at_work": found.at_work,
                "worker": now.worker.model_dump() if now.worker else None,
                "asked": now.asked,
                "why": now.why,
                "stages": {name: vars(state) for name, state in found.stages.items()},
                "changes": [change.model_dump(exclude_none=True) for change in found.changes],
                "last": found.last,
            }
        )
        return
    typer.echo(f"{run}: {found.command}, {now if found.word == now.word else found.word}")
    print_rows([[f"  {name}", state.word, state.reason] for name, state in found.stages.items()])
    for change in found.changes:
        typer.echo(f"  {change}")
    if found.last and found.last["kind"] == "progress":
        from shallow2deep.commands.watch import progress_line

        typer.echo(f"  {progress_line(found.last)}")


class _Detached(TyperCommand):
    """Reads arguments as the command itself does, and hands them to a process of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> None:
        from shallow2deep.runs.detached import start

        print_started(start(str(self.name), ctx.meta["arguments"], ctx.params["run"]))


start_app = typer.Typer(
    no_args_is_help=True, help="Begin a run in a process of its own, which goes on without this terminal."
)
app.add_typer(start_app, name="start")
start_app.command("enhancer-train", cls=_Detached)(enhancer_train)
start_app.command("adapt", cls=_Detached)(adapt)
start_app.command("train", cls=_Detached)(train)
start_app.command("pretrain", cls=_Detached)(pretrain)


def print_started(started: "Started") -> None:
    """Where a run that was begun goes on, and how to follow it."""
    if started.pid is None:
        typer.echo(f"{started.run}: finished, so there was nothing to do; what was said: {started.console}")
        return
    print_rows(
        [
            ["run:", str(started.run)],
            ["process:", str(started.pid)],
            ["log:", str(started.console)],
            ["to follow it:", f"s2d watch {shlex.quote(str(started.run))}"],
        ]
    )


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="seconds to wait for it")]


@app.command()
def watch(run: RunFolder, wait: Wait = 30) -> None:
    """Show what a run does until it ends; Ctrl-C leaves it alone. Exit code 1 or 4 if it was stopped."""
    from shallow2deep.commands.watch import watch as run_watch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = run_watch(run, wait)
    except KeyboardInterrupt:
        typer.echo(f"\nnot watched any more; the run goes on: s2d watch {shlex.quote(str(run))}")
        return
    if found.word not in ("finished", "paused"):
        raise typer.Exit(4 if found.word == "aborted" else 1)


@app.command()
def pause(run: RunFolder, wait: Wait = 30) -> None:
    """Let a run save a checkpoint and wait, at its next safe point."""
    from shallow2deep.runs.steering import pause as run_pause

    typer.echo(f"{run}: {run_pause(run, wait)}")


@app.command()
def resume(run: RunFolder, trust: Trust = False, wait: Wait = 30) -> None:
    """Let a run go on that is paused, or was stopped in whatever way: then in a process of its own."""
    from shallow2deep.runs.detached import Started
    from shallow2deep.runs.steering import resume as run_resume

    found = run_resume(run, trust, wait)
    if isinstance(found, Started):
        print_started(found)
    else:
        typer.echo(f"{run}: {found}")


@app.command()
def abort(
    run: RunFolder,
    discard: Annotated[
        bool, typer.Option("--discard", help="also remove what stages have made that are not finished")
    ] = False,
    wait: Wait = 60,
) -> None:
    """Let a run end at its next safe point; `s2d resume` goes on from its last checkpoint."""
    from shallow2deep.runs.steering import abort as run_abort

    typer.echo(f"{run}: {run_abort(run, discard, wait)}")


@app.command("set")
def set_settings(
    run: RunFolder,
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUE…", help="learning_rate, steps, batch, patience, validate_every; or STAGE.NAME"
        ),
    ],
    wait: Wait = 30,
) -> None:
    """Change settings of a training at its next safe point; the change is recorded in the run."""
    from shallow2deep.runs.changing import change

    made = change(run, settings, wait)
    typer.echo(f"{run}: {made or 'asked for; it is made when that training comes to its next safe point'}")


@app.command()
def clean(
    run: RunFolder, yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False
) -> None:
    """Remove what a run has made, and nothing else."""
    from shallow2deep.errors import InputError
    from shallow2deep.runs.cleaning import clean as run_clean
    from shallow2deep.runs.cleaning import contents

    found = contents(run)
    for path in found.made:
        typer.echo(path)
    typer.echo(f"{len(found.made)} files and folders that the run has made, {found.size / 1e6:.1f} MB")
    for path in found.others:
        typer.echo(f"{path}: not of the run; it stays")
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was removed, as nobody can be asked here; give --yes")
        typer.confirm("Remove them?", abort=True)
    run_clean(run)
    typer.echo("removed")


config_app = typer.Typer(no_args_is_help=True, help="Say what is set, and what can be.")
app.add_typer(config_app, name="config")
Configured = Annotated[
    str, typer.Argument(metavar="COMMAND", help="adapt, enhancer-train, train or pretrain")
]


@config_app.command("show")
def config_show(
    command: Configured,
    config: Annotated[Path | None, typer.Argument(help="settings in YAML")] = None,
    json_: Json = False,
    set_: Set = None,
) -> None:
    """Print each setting and where it comes from: default, user's file, config file, command line."""
    from shallow2deep.commands.config import check, shown
    from shallow2deep.settings import levels_of

    levels = levels_of(command, config, set_ or ())
    found = shown(command, levels)
    if json_:
        print_json([vars(one) for one in found])
    else:
        print_rows([[one.setting, one.origin, one.text] for one in found])
    check(command, levels)


@config_app.command("schema")
def config_schema(command: Configured) -> None:
    """Print the JSON schema of a command's settings, for editors."""
    from shallow2deep.commands.config import schema

    print_json(schema(command))


@app.command()
def serve(
    root: Annotated[Path, typer.Option(help="folder for data, models and jobs of the server")],
    readable: Annotated[
        list[Path] | None, typer.Option(help="further folder of data that clients may name; repeatable")
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to listen at; any but this computer's own needs a token")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8765,
    token: Annotated[
        str | None, typer.Option(envvar="S2D_SERVE_TOKEN", help="that clients have to show; better in a file")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="file with the token")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key, PEM")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="of pages that may ask, e.g. https://example.org; repeatable")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="jobs at the same time; one per GPU, or one, if not given")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="of the processor for each job; all if not given")
    ] = None,
    max_upload: Annotated[float, typer.Option(min=0.001, help="GB of a file that is sent, at most")] = 4,
    connection_file: Annotated[
        Path | None, typer.Option(help="file that gets address and token, for clients of the same user")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="also answer tiktorch's clients there, by gRPC")
    ] = None,
    paint: Annotated[
        list[str] | None,
        typer.Option(help="images that its page lets paint on, in a project in --root; repeatable"),
    ] = None,
) -> None:
    """Train for clients of other programs and computers: jobs, images and models over HTTP."""

    if token_file:
        token = token_file.read_text(encoding="utf-8").strip()
    with _needs_server_packages():
        from shallow2deep.service.server import Options
        from shallow2deep.service.server import serve as run_server
    run_server(
        Options(
            root, tuple(readable or ()), host, port, token, tls_cert, tls_key, tuple(allow_origin or ()),
            slots, cores, int(max_upload * 2**30), connection_file, grpc_port,
            tuple(paint or ()),
        )
    )  # fmt: skip


@contextmanager
def _needs_server_packages() -> Iterator[None]:
    from shallow2deep.errors import InputError

    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is missing, which a server needs; install it by: pip install 'shallow2deep[serve]'"
        ) from None


@app.command()
def ui(
    images: Annotated[
        list[str],
        typer.Argument(metavar="FOLDER|IMAGES", help="a folder, or file.tif, file.h5:key, 'a/*.png' …"),
    ],
    project: Annotated[
        Path | None,
        typer.Option(
            help="folder for strokes, settings and runs; shallow2deep beside the images if not given"
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 0,
    browser: Annotated[bool, typer.Option(help="open the page; else its address is printed")] = True,
) -> None:
    """Paint strokes in the browser, and see at once what is learned from them."""
    with _needs_server_packages():
        from shallow2deep.service.painting import project_folder
        from shallow2deep.service.server import Options, serve
    serve(Options(project or project_folder(images), port=port, paint=tuple(images), browser=browser))


strokes_app = typer.Typer(no_args_is_help=True, help="Prepare strokes for other programs.")
app.add_typer(strokes_app, name="strokes")


@strokes_app.callback()
def _strokes() -> None:
    """Keeps `new` a command of its own, though there is no other."""


@strokes_app.command("new")
def strokes_new(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="a folder, or file.tif, file.h5:key, 'a/*.png' …")
    ],
    out: Annotated[Path, typer.Option(help="folder for the stroke files")],
) -> None:
    """Write empty stroke files, to be painted in Fiji, napari or another program."""
    from shallow2deep.commands.new_strokes import new_strokes

    for path in new_strokes(images, out):
        typer.echo(path)


@app.command()
def init(
    path: Annotated[
        Path | None,
        typer.Argument(help="file to write; enhancer.yaml, adapt.yaml, train.yaml or pretrain.yaml"),
    ] = None,
    for_: Annotated[
        str, typer.Option("--for", metavar="COMMAND", help="enhancer-train, adapt, train or pretrain")
    ] = "enhancer-train",
) -> None:
    """Write a commented file of settings for your own data."""
    from shallow2deep.commands.init import write_template

    written = write_template(path, for_)
    typer.echo(f"written: {written}; edit it, then: s2d {for_} {written} --run RUN")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for data, runs and results")] = Path("s2d-demo"),
) -> None:
    """Run everything on small images that come with the package; takes a few minutes."""
    from shallow2deep.commands.demo import run_demo

    result = run_demo(out)
    print_rows(score_rows(result.scores))
    print_rows([[f"{name}:", str(path)] for name, path in result.places.items()])


@app.command("tiktorch-server")
def tiktorch_server(
    root: Annotated[Path, typer.Option(help="folder for data, models and trainings of the server")] = Path(
        "~/.shallow2deep/server"
    ),
    readable: Annotated[
        list[Path] | None, typer.Option(help="further folder of data that clients may name; repeatable")
    ] = None,
    addr: Annotated[str, typer.Option(help="to listen on; other computers need a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 0,
    connection_file: Annotated[
        Path | None, typer.Option(help="gets address and port as JSON, before the server starts")
    ] = None,
    kill_timeout: Annotated[
        float | None, typer.Option(min=0, help="seconds without a ping after which the server ends")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="S2D_SERVE_TOKEN", help="that clients have to show")
    ] = None,
) -> None:
    """Train and predict for clients of tiktorch, by gRPC; started as tiktorch's own server is."""
    from shallow2deep.service.tiktorch.running import serve as run_server

    run_server(root, addr, port, connection_file, kill_timeout, readable or (), token)


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
