"""The command line: `imgbench run`, `verify`, `report`, `env`, `encoders`."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from imgbench.errors import InputError

if TYPE_CHECKING:
    from imgbench.report import Report

app = typer.Typer(
    name="imgbench",
    help="Does approximate indexing degrade the nDCG of my image search, and what do I gain for it?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

OUT = Path("out")
_OF_ENCODERS = ("device", "precision", "batch_size", "trust_remote_code")
FAILED, WRONG, INTERRUPTED = 1, 2, 130

Out = Annotated[Path, typer.Argument(help="The folder that `imgbench run --out` wrote.", show_default=False)]


@app.command()
def run(  # noqa: PLR0917  typer's options
    file: Annotated[
        Path | None, typer.Argument(help="A TOML file with the same names as the options below.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="scenes, scenes:SIZE, a folder, or a captions.jsonl. [default: scenes]")
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="scenes, a preset, or family:model. Repeats. [default: scenes]")
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(help="FACTORY?name=value,value&name=value. Repeats. [default: a grid of four families]"),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="A measure of ir-measures. Repeats. [default: nDCG@10 AP@10 R@10 P@10]"),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(help="The loss that would be acceptable, or 1% of exact search. [default: 0.005]"),
    ] = None,
    builds: Annotated[
        int | None,
        typer.Option(help="Builds of each index; with several, intervals cover a new one. [default: 1]"),
    ] = None,
    strata: Annotated[
        Path | None,
        typer.Option(help="A CSV file with query_id and labels: each column parts the queries."),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(help="The depth of every search. [default: the largest cutoff of the measures]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder that takes results, runs and pages. [default: out]")
    ] = None,
    funnel: Annotated[
        bool | None,
        typer.Option("--funnel", help="Split each loss into precision, transform, codes, search."),
    ] = None,
    curve: Annotated[
        bool | None, typer.Option("--curve", help="Add exact search in smaller and in larger corpora.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Vectors of the images instead of a corpus: .npy, .fbin, .fvecs, .parquet."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Vectors of the queries, with --images and --qrels.")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements of the vectors' ids: TREC, or .csv.")] = None,
    device: Annotated[str | None, typer.Option(help="Where encoders run: cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, or fp16 on a GPU.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images or texts that an encoder takes at a time.")
    ] = None,
    trust_remote_code: Annotated[
        bool | None,
        typer.Option(
            "--trust-remote-code", help="Run Python code that a model brings; needs a pinned revision."
        ),
    ] = None,
    cache: Annotated[
        str | None, typer.Option(help="Where embeddings are kept. [default: ~/.cache/imgbench]")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Of all intervals. [default: 0.95]")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of training, timing orders and intervals. [default: 0]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="For building and for throughput. [default: all cores]")
    ] = None,
    latency_calls: Annotated[
        int | None, typer.Option(help="Timed single queries a point. [default: 1000]")
    ] = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", help="No progress on standard error.")] = None,
) -> None:
    """Measure what approximate search costs, and print the table.

    For example, on the pictures that imgbench draws itself:

        imgbench run --corpus scenes:5000 --index "IVF64,Flat?nprobe=1,4,16" --index "HNSW32?efSearch=16,64"

    or with vectors that exist already:

        imgbench run --images images.npy --queries queries.npy --qrels qrels.csv
    """
    # The parameters' names are the options' names, in a TOML file too.
    given = {name: value for name, value in locals().items() if name != "file" and value not in (None, [])}
    options = (_from_file(file) if file else {}) | given
    try:
        report = _benchmark(options)
    except KeyboardInterrupt:
        _say("imgbench: interrupted. Finished embeddings are kept: the same command goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    # The answer comes before the files: a full disk takes only these.
    print(report.table("text", width=_width()), flush=True)  # noqa: T201
    folder = report.save(options.get("out", OUT))
    _say(f"Saved in {folder}: results.json, index.html, pareto.svg, per_query.parquet, runs/.")


@app.command()
def verify(out: Out = OUT) -> None:
    """Score the saved runs again, with ir-measures' own providers, and say whether results.json holds."""
    from imgbench.report import Report

    report = Report.load(out)
    if found := report.verify():
        for sentence in found:
            _say(sentence)
        raise typer.Exit(FAILED)
    points = len(report.results["points"])
    print(f"{out / 'results.json'} holds: {points} points scored again give the same figures to 1e-9.")  # noqa: T201


@app.command("report")
def report_again(
    out: Out = OUT,
    details: Annotated[
        bool | None, typer.Option("--details", help="Print where the loss falls and arises as well.")
    ] = None,
) -> None:
    """Write index.html and pareto.svg again from the saved results, and print the table."""
    from imgbench.report import Report

    report = Report.load(out)
    report.save_pages(out)
    print(report.table("text", width=_width(), details=bool(details)))  # noqa: T201


@app.command()
def env() -> None:
    """What results depend on: machine, packages, FAISS, as JSON."""
    from imgbench import environment
    from imgbench.index import compile_options, gpu_count

    found = environment.describe() | {"faiss_compile_options": compile_options(), "faiss_gpus": gpu_count()}
    print(json.dumps(found, indent=1))  # noqa: T201


@app.command()
def encoders() -> None:
    """The encoders that have short names, with size, licence and source."""
    from rich.console import Console
    from rich.table import Table

    from imgbench.encoders import presets

    table = Table("name", "specification", "dim", "px", "licence", "notes", box=None, header_style="bold")
    for preset in presets.table():
        table.add_row(preset.name, preset.spec, str(preset.dim), str(preset.px), preset.licence, preset.notes)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _from_file(path: Path) -> dict[str, Any]:
    """The options of a TOML file: the parameters of `run`, and their types."""
    from imgbench import options

    kinds = {name: get_args(hint)[0] for name, hint in get_type_hints(run).items() if get_args(hint)}
    del kinds["file"]
    return options.read(path, kinds)


def _benchmark(options: dict[str, Any]) -> Report:
    from imgbench.benchmark import benchmark
    from imgbench.points import Protocol
    from imgbench.report import files

    files.check_writable(Path(options.get("out", OUT)))  # now, and not after hours of work
    progress = not options.get("quiet", False) and sys.stderr.isatty()
    names = {"index": "indexes", "measure": "measures"}
    same = (
        "index",
        "measure",
        "margin",
        "builds",
        "strata",
        "funnel",
        "curve",
        "k",
        "confidence",
        "seed",
        "cache",
    )
    settings = {names.get(name, name): options[name] for name in same if name in options}
    speeds = {name: options[name] for name in ("threads", "latency_calls") if name in options}
    return benchmark(*_subject(options), protocol=Protocol(**speeds), progress=progress, **settings)


def _subject(options: dict[str, Any]) -> tuple[Any, Any]:
    """What is searched: a corpus and encoders, or judgements and vectors."""
    vectors = [name for name in ("images", "queries", "qrels") if name in options]
    if not vectors:
        return options.get("corpus", "scenes"), _encoders(options)
    others = [name for name in ("corpus", "encoder", *_OF_ENCODERS) if name in options]
    if len(vectors) < 3 or others:  # noqa: PLR2004
        came = " and ".join(f"--{name.replace('_', '-')}" for name in vectors + others)
        raise InputError(
            f"{came} came {'together' if len(vectors + others) > 1 else 'alone'}.",
            "Vectors need --images, --queries and --qrels, and no corpus, encoder or option of encoders.",
            "Pass these three, or a corpus and encoders.",
        )
    from imgbench.embeddings import Embeddings
    from imgbench.qrels import Qrels

    images = Embeddings.load(options["images"])
    return Qrels.coerce(options["qrels"]), {
        Path(options["images"]).stem: (images, Embeddings.load(options["queries"]))
    }


def _encoders(options: dict[str, Any]) -> list[Any]:
    from imgbench.encoders.base import Encoder

    settings = {name: options[name] for name in _OF_ENCODERS if name in options}
    return [Encoder.load(spec, **settings) for spec in options.get("encoder", ["scenes"])]


def _width() -> int:
    import shutil

    return max(80, shutil.get_terminal_size((120, 24)).columns)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # pyright: ignore[reportAssignmentType]
"""Of click, or of the copy that newer versions of typer bring along: its name there is private."""


def _usage(error: Any) -> str:  # noqa: ANN401
    context = error.ctx
    name = context.command_path if context else "imgbench"
    came = error.format_message().strip().rstrip(".")
    usage = " ".join(context.get_usage().split()) if context else "Usage: imgbench COMMAND"
    return f"{came}. {usage}. See '{name} --help'."


def main() -> None:
    """The entry point: errors of input and usage are three sentences on standard error, never a traceback."""
    with warnings.catch_warnings():
        # A user reads what happened, not the line of code that says so.
        warnings.showwarning = lambda message, *_: _say(f"imgbench: {message}")
        try:
            code = app(prog_name="imgbench", standalone_mode=False)
        except InputError as error:
            said = str(error)
        except _UsageError as error:
            if not str(error):  # no command came, and the help was shown
                sys.exit(WRONG)
            said = _usage(error)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            said = (
                f"{what}{error.strerror or error}. Files must be readable and folders writable. "
                "Check the path, its permissions and the space left."
            )
        else:
            sys.exit(code or 0)
    _say(f"imgbench: {said}")
    sys.exit(WRONG)


if __name__ == "__main__":
    main()
