"""The options that several commands share, and what they say to search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from imgbench.errors import InputError

if TYPE_CHECKING:
    from imgbench.encoders.base import Encoder
    from imgbench.points import Protocol

OUT = Path("out")
_OF_ENCODERS = ("device", "precision", "batch_size", "trust_remote_code")

Corpus = Annotated[
    str | None, typer.Option(help="scenes, scenes:SIZE, a folder, or a captions.jsonl. [default: scenes]")
]
Encoders = Annotated[
    list[str] | None, typer.Option(help="scenes, a preset, or family:model. Repeats. [default: scenes]")
]
Indexes = Annotated[
    list[str] | None,
    typer.Option(help="FACTORY?name=value,value&name=value. Repeats. [default: a grid of four families]"),
]
Margin = Annotated[
    str | None,
    typer.Option(help="The loss that would be acceptable, or 1% of exact search. [default: 0.005]"),
]
Depth = Annotated[
    int | None,
    typer.Option(help="The depth of every search. [default: the largest cutoff of the measures]"),
]
Images = Annotated[
    Path | None,
    typer.Option(help="Vectors of the images instead of a corpus: .npy, .fbin, .fvecs, .parquet."),
]
Queries = Annotated[Path | None, typer.Option(help="Vectors of the queries, with --images and --qrels.")]
Judgements = Annotated[Path | None, typer.Option(help="Judgements of the vectors' ids: TREC, or .csv.")]
Device = Annotated[str | None, typer.Option(help="Where encoders run: cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16, or fp16 on a GPU.")]
BatchSize = Annotated[int | None, typer.Option(help="Images or texts that an encoder takes at a time.")]
TrustRemoteCode = Annotated[
    bool | None,
    typer.Option("--trust-remote-code", help="Run Python code that a model brings; needs a pinned revision."),
]
Cache = Annotated[
    str | None, typer.Option(help="Where embeddings and indexes are kept. [default: ~/.cache/imgbench]")
]
Confidence = Annotated[float | None, typer.Option(help="Of all intervals. [default: 0.95]")]
Seed = Annotated[int | None, typer.Option(help="Of training, timing orders and intervals. [default: 0]")]
Threads = Annotated[int | None, typer.Option(help="For building and for throughput. [default: all cores]")]
LatencyCalls = Annotated[int | None, typer.Option(help="Timed single queries a point. [default: 1000]")]
Clients = Annotated[
    str | None, typer.Option(help="Time every point with so many clients at once, such as 1,2,4.")
]
Batches = Annotated[
    str | None, typer.Option(help="Time every point with batches of so many queries, such as 1,32,all.")
]
ClientThreads = Annotated[int | None, typer.Option(help="Of each client. [default: 1]")]
Quiet = Annotated[bool | None, typer.Option("--quiet", help="No progress on standard error.")]


def from_file(path: Path, command: Callable[..., object]) -> dict[str, Any]:
    """The options of a TOML file: the parameters of the command, and their types."""
    from imgbench import options

    kinds = {name: get_args(hint)[0] for name, hint in get_type_hints(command).items() if get_args(hint)}
    del kinds["file"]
    return options.read(path, kinds, f"imgbench {command.__name__}")


def protocol(options: dict[str, Any]) -> Protocol:
    """How speeds are measured."""
    from imgbench.points import Protocol

    return Protocol(**{name: options[name] for name in ("threads", "latency_calls") if name in options})


def loads(options: dict[str, Any]) -> dict[str, list[int | str]]:
    """`clients` and `batches`, as far as they were given: numbers between commas.

    >>> loads({"clients": "1, 2", "batches": "32,all"})
    {'clients': [1, 2], 'batches': [32, 'all']}
    """
    found = {name: options[name] for name in ("clients", "batches") if options.get(name)}
    return {name: [_number(part.strip()) for part in text.split(",")] for name, text in found.items()}


def _number(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def subject(options: dict[str, Any]) -> tuple[Any, Any]:
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


def _encoders(options: dict[str, Any]) -> Any:  # noqa: ANN401  one encoder or a list, as was asked
    settings = {name: options[name] for name in _OF_ENCODERS if name in options}
    asked = options.get("encoder", "scenes")
    if isinstance(asked, str):
        return _encoder(asked, settings, options)
    return [_encoder(spec, settings, options) for spec in asked]


def remember(encoders: object, options: dict[str, Any]) -> None:
    """After a run that succeeded, what the next one needs to know of the shipped encoder."""
    from imgbench.embeddings import CACHE
    from imgbench.encoders import later
    from imgbench.encoders.base import Encoder

    if not isinstance(encoders, Encoder) or isinstance(encoders, later.Later):
        return
    if encoders.name == later.SHIPPED and not any(name in options for name in _OF_ENCODERS):
        later.keep(encoders, options.get("cache", CACHE))


def _encoder(spec: str, settings: dict[str, Any], options: dict[str, Any]) -> Encoder:
    from imgbench.embeddings import CACHE
    from imgbench.encoders import later
    from imgbench.encoders.base import Encoder

    if spec == later.SHIPPED and not settings:
        return later.load(options.get("cache", CACHE))
    return Encoder.load(spec, **settings)
