"""`imgbench run`: the main job."""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgbench import stopwatch
from imgbench.cli import inputs
from imgbench.cli.inputs import OUT
from imgbench.cli.program import INTERRUPTED, say, show, width

if TYPE_CHECKING:
    from imgbench.report import Report

_SETTINGS = (
    "index", "measure", "margin", "builds", "strata", "funnel", "curve", "client_threads", "k", "confidence",
    "seed", "cache",
)  # fmt: skip


def run(  # noqa: PLR0917  typer's options
    file: Annotated[
        Path | None, typer.Argument(help="A TOML file with the same names as the options below.")
    ] = None,
    corpus: inputs.Corpus = None,
    encoder: inputs.Encoders = None,
    index: inputs.Indexes = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="A measure of ir-measures. Repeats. [default: nDCG@10 AP@10 R@10 P@10]"),
    ] = None,
    margin: inputs.Margin = None,
    builds: Annotated[
        int | None,
        typer.Option(help="Builds of each index; with several, intervals cover a new one. [default: 1]"),
    ] = None,
    strata: Annotated[
        Path | None,
        typer.Option(help="A CSV file with query_id and labels: each column parts the queries."),
    ] = None,
    k: inputs.Depth = None,
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
    profile: Annotated[
        bool | None, typer.Option("--profile", help="Print where the time went, stage by stage.")
    ] = None,
    clients: inputs.Clients = None,
    batches: inputs.Batches = None,
    client_threads: inputs.ClientThreads = None,
    images: inputs.Images = None,
    queries: inputs.Queries = None,
    qrels: inputs.Judgements = None,
    device: inputs.Device = None,
    precision: inputs.Precision = None,
    batch_size: inputs.BatchSize = None,
    trust_remote_code: inputs.TrustRemoteCode = None,
    cache: inputs.Cache = None,
    confidence: inputs.Confidence = None,
    seed: inputs.Seed = None,
    threads: inputs.Threads = None,
    latency_calls: inputs.LatencyCalls = None,
    quiet: inputs.Quiet = None,
) -> None:
    """Measure what approximate search costs, and print the table.

    For example, on the pictures that imgbench draws itself:

        imgbench run --corpus scenes:5000 --index "IVF64,Flat?nprobe=1,4,16" --index "HNSW32?efSearch=16,64"

    or with vectors that exist already:

        imgbench run --images images.npy --queries queries.npy --qrels qrels.csv
    """
    # The parameters' names are the options' names, in a TOML file too.
    given = {name: value for name, value in locals().items() if name != "file" and value not in (None, [])}
    options = (inputs.from_file(file, run) if file else {}) | given
    try:
        with stopwatch.running() as watch:
            _run(options)
    except KeyboardInterrupt:
        say(
            "imgbench: interrupted. What was embedded and built is kept: the same command goes on from there."
        )
        raise typer.Exit(INTERRUPTED) from None
    if options.get("profile"):
        from imgbench.report.profile import profile as told

        show("\n" + told(watch.to_dict(), width=width()))


def _run(options: dict[str, Any]) -> None:
    atexit.register(gc.freeze)  # else Python looks through all objects of torch once more: 1 s at the end
    report = _benchmark(options)
    # The answer comes before the files: a full disk takes only these.
    with stopwatch.stage("print the table"):
        show(report.table("text", width=width()))
    folder = report.save(options.get("out", OUT))
    say(f"Saved in {folder}: results.json, index.html, pareto.svg, per_query.parquet, runs/.")


def _benchmark(options: dict[str, Any]) -> Report:
    with stopwatch.stage("import libraries"):
        from imgbench.benchmark import benchmark
        from imgbench.report import files

    files.check_writable(Path(options.get("out", OUT)))  # now, and not after hours of work
    progress = not options.get("quiet", False) and sys.stderr.isatty()
    names = {"index": "indexes", "measure": "measures"}
    settings = {names.get(name, name): options[name] for name in _SETTINGS if name in options}
    settings |= inputs.loads(options)
    with stopwatch.stage("load encoders or vectors"):
        corpus, encoders = inputs.subject(options)
    report = benchmark(corpus, encoders, protocol=inputs.protocol(options), progress=progress, **settings)
    inputs.remember(encoders, options)
    return report
