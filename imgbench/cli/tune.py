"""`imgbench tune`: the cheapest operating point that holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgbench.cli import inputs
from imgbench.cli.program import INTERRUPTED, say, show

if TYPE_CHECKING:
    from imgbench.tuning import Tuning

_SETTINGS = ("goal", "measure", "margin", "confidence", "k", "seed", "cache")


def tune(  # noqa: PLR0917  typer's options
    file: Annotated[
        Path | None, typer.Argument(help="A TOML file with the same names as the options below.")
    ] = None,
    corpus: inputs.Corpus = None,
    encoder: Annotated[
        str | None, typer.Option(help="scenes, a preset, or family:model. [default: scenes]")
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(help="FACTORY?name=value,value. Repeats. [default: about sixty points]"),
    ] = None,
    goal: Annotated[
        str | None,
        typer.Option(help="What is to be cheap: latency, throughput, bytes or distances. [default: latency]"),
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="The measure of ir-measures that may not lose. [default: nDCG@10]")
    ] = None,
    margin: inputs.Margin = None,
    k: inputs.Depth = None,
    out: Annotated[
        Path | None, typer.Option(help="A JSON file that takes the answer and how it was found.")
    ] = None,
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
    """Find the cheapest operating point that is proven to lose less than the margin.

    It is chosen on one half of the queries and proven on the other. For example:

        imgbench tune --corpus scenes --goal latency --margin 0.01
    """
    given = {name: value for name, value in locals().items() if name != "file" and value not in (None, [])}
    options = (inputs.from_file(file, tune) if file else {}) | given
    try:
        found = _tuned(options)
    except KeyboardInterrupt:
        say("imgbench: interrupted. Finished embeddings are kept: the same command goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    show(str(found))
    if "out" in options:
        found.save(options["out"])
        say(f"Saved in {options['out']}.")


def _tuned(options: dict[str, Any]) -> Tuning:
    from imgbench.tuning import tune as tuned

    progress = not options.get("quiet", False) and sys.stderr.isatty()
    settings = {name: options[name] for name in _SETTINGS if name in options}
    if "index" in options:
        settings["indexes"] = options["index"]
    corpus, encoder = inputs.subject(options)
    return tuned(corpus, encoder, protocol=inputs.protocol(options), progress=progress, **settings)
