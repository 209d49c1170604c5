"""`imgbench tune`: the cheapest operating point that holds."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgbench.cli import inputs
from imgbench.cli.program import INTERRUPTED, say, show
from imgbench.errors import InputError

if TYPE_CHECKING:
    from imgbench.tuning import Tuning

_ALONE = ("encoder", "measure")  # lists, so that a second one is seen
_SETTINGS = ("goal", "measure", "margin", "confidence", "k", "seed", "cache")


def tune(  # noqa: PLR0917  typer's options
    file: Annotated[
        Path | None, typer.Argument(help="A TOML file with the same names as the options below.")
    ] = None,
    corpus: inputs.Corpus = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="scenes, a preset, or family:model. [default: scenes]")
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
        list[str] | None,
        typer.Option(help="The measure of ir-measures that may not lose. [default: nDCG@10]"),
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
        say("imgbench: interrupted. Embeddings are kept; the tuning starts again.")
        raise typer.Exit(INTERRUPTED) from None
    show(str(found))
    if "out" in options:
        with _writing(options["out"]):
            found.save(options["out"])
        say(f"Saved in {options['out']}.")


def _tuned(options: dict[str, Any]) -> Tuning:
    from imgbench.tuning import tune as tuned

    options |= {name: _one(name, options[name]) for name in _ALONE if name in options}
    if "out" in options:
        _check_writable(options["out"])  # now, and not after all the work
    progress = not options.get("quiet", False) and sys.stderr.isatty()
    settings = {name: options[name] for name in _SETTINGS if name in options}
    if "index" in options:
        settings["indexes"] = options["index"]
    corpus, encoder = inputs.subject(options)
    return tuned(corpus, encoder, protocol=inputs.protocol(options), progress=progress, **settings)


def _one(name: str, values: list[str]) -> str:
    if len(values) == 1:
        return values[0]
    came = {0: "is empty", 2: "came twice"}.get(len(values), f"came {len(values)} times")
    raise InputError(f"--{name} {came}.", "Tuning is about one.", "Pass one.")


def _check_writable(path: Path) -> None:
    """InputError where no file can be written under that name. What is there stays as it is."""
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder.", "The answer is one JSON file.", "Name a file in it.")
    with _writing(path):  # asking for permissions would say nothing of disks that are full or only to be read
        tempfile.TemporaryFile(dir=path.parent).close()


@contextlib.contextmanager
def _writing(path: Path) -> Generator[None]:
    """A disk that refuses, told of the path that was asked for."""
    try:
        yield
    except OSError as error:
        came = f"{str(path)!r} cannot be written ({error.strerror or error})."
        wanted = "Wanted a file in a folder that exists and is writable."
        raise InputError(came, wanted, "Check the path, its permissions and the space left.") from None
