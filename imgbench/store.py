"""Embeddings on disk: shards written one by one, so that a killed job continues where it stopped.

    <key>/shard-00000.npy ...   (rows, dim) float16 or float32, C order, unit rows
    <key>/ids.jsonl             one id (a JSON string) a row
    <key>/manifest.json         what was encoded by what, SHA-256 of each file, quarantine
    <key>/timing.json           rows encoded and seconds it took: apart, since times never repeat

The key is a hash of content, encoder and dtype. Every file is written under another name and renamed, the
manifest last; a file that the manifest does not vouch for is written again. A killed job therefore ends with
the bytes of an undisturbed one. Two processes that fill one store take turns (a lock file beside it; where
the system has no locks both do the work, and the last to end wins).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from imgbench.complete import digest, locked, replacing
from imgbench.errors import InputError

SCHEMA = 1
SHARD_ROWS = 8192
_NAMES = {"manifest": "manifest.json", "ids": "ids.jsonl", "timing": "timing.json"}

Encoded = tuple[Float[np.ndarray, "row dim"], Sequence[int], Sequence[tuple[int, str]]]
"""Rows of the readable items, their places in the range that was asked, (place, reason) of the others."""

Encode = Callable[[range], Encoded]
"""Encodes the items with these numbers."""


@dataclass(frozen=True)
class Plan:
    """What a store is to hold."""

    kind: str  # "images" or "texts"
    ids: tuple[str, ...]
    content: str  # SHA-256 (hex) of what is encoded
    encoder: str
    encoder_fingerprint: str
    dim: int
    dtype: str
    shard_rows: int = SHARD_ROWS

    @property
    def key(self) -> str:
        """The store's name: SHA-256 (hex) over kind, ids, content, encoder's fingerprint, dim and dtype."""
        return hashlib.sha256(json.dumps([self.header(), *self.ids]).encode()).hexdigest()

    def header(self) -> dict[str, Any]:
        """The part of the manifest that must agree before a store is used."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "content": self.content,
            "items": len(self.ids),
            "encoder_fingerprint": self.encoder_fingerprint,
            "dim": self.dim,
            "dtype": self.dtype,
        }

    def spans(self) -> list[range]:
        """The item numbers of each shard."""
        starts = range(0, len(self.ids), self.shard_rows)
        return [range(start, min(start + self.shard_rows, len(self.ids))) for start in starts]


@dataclass(frozen=True)
class Stored:
    """What a complete store holds."""

    ids: tuple[str, ...]
    vectors: Float[np.ndarray, "row dim"]
    quarantine: tuple[tuple[str, str], ...]
    key: str
    rows_per_second: float | None


def fill(folder: Path, plan: Plan, encode: Encode) -> bool:
    """Encode whatever the store lacks; false if that is nothing. InputError if its manifest names another
    content or encoder.
    """
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".*.part"):  # of a job that was killed while it wrote
            part.unlink()
        said = _manifest(folder)
        _check_header(folder, said, plan)
        plan = replace(plan, shard_rows=said.get("shard_rows", plan.shard_rows))
        shards = _intact(folder, said)
        _warn_of_damage(folder, said, shards)
        lacking = len(shards) < len(plan.spans())
        if not lacking and _ids_intact(folder, said):
            return False
        for number, span in enumerate(plan.spans()):
            if number not in shards:
                shards[number] = _write_shard(folder, number, plan, span, encode)
                _write_manifest(folder, plan, shards)
        _write_ids(folder, plan, shards)
        return lacking


def read(folder: Path, *, verify: bool = True) -> Stored:
    """The store's rows. InputError if it is incomplete or a file differs from its hash.

    A single shard is memory-mapped; several are read into one array.
    """
    said = _manifest(folder)
    if said.get("schema") != SCHEMA or "ids_sha256" not in said:
        raise InputError(
            f"{folder} is no complete store of embeddings.", "Wanted all shards.", "Run the encoding again."
        )
    if verify and (len(_intact(folder, said)) < len(said["shards"]) or not _ids_intact(folder, said)):
        raise InputError(
            f"A file of {folder} is damaged.", "Wanted the bytes that the manifest names.", "Encode again."
        )
    parts = [_mapped(folder, number, said) for number in range(len(said["shards"]))]
    lines = (folder / _NAMES["ids"]).read_text(encoding="utf-8").splitlines()
    return Stored(
        ids=tuple(json.loads(line) for line in lines),
        vectors=parts[0] if len(parts) == 1 else np.concatenate(parts),
        quarantine=tuple(
            (name, reason) for shard in said["shards"] for _, name, reason in shard["quarantine"]
        ),
        key=folder.name,
        rows_per_second=_rate(folder),
    )


def is_store(folder: Path) -> bool:
    """Whether the folder looks like a store."""
    return (folder / _NAMES["manifest"]).is_file()


def _write_shard(folder: Path, number: int, plan: Plan, span: range, encode: Encode) -> dict[str, Any]:
    start = time.perf_counter()
    vectors, places, failures = encode(span)
    seconds = time.perf_counter() - start
    if vectors.shape != (len(places), plan.dim) or len(places) + len(failures) != len(span):
        raise InputError(
            f"{plan.encoder} gave {vectors.shape} for {len(places)} of {len(span)} {plan.kind}.",
            f"Wanted one row of {plan.dim} values for each.",
            "Check the encoder.",
        )
    path = folder / shard_name(number)
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, np.ascontiguousarray(vectors, dtype=plan.dtype), allow_pickle=False)
    _add_timing(folder, len(span), seconds)
    return {
        "items": [span.start, span.stop],
        "rows": len(places),
        "sha256": digest(path),
        "quarantine": [[span[place], plan.ids[span[place]], reason] for place, reason in failures],
    }


def shard_name(number: int) -> str:
    """The file name of a shard: computed and never read from a manifest, which could name any file."""
    return f"shard-{number:05d}.npy"


def _write_manifest(
    folder: Path, plan: Plan, shards: dict[int, dict[str, Any]], ids_sha256: str | None = None
) -> None:
    said = {**plan.header(), "encoder": plan.encoder, "shard_rows": plan.shard_rows}
    if ids_sha256 is not None:
        said["ids_sha256"] = ids_sha256
    # A gap (a damaged shard among good ones) stays visible as null until it is filled.
    said["shards"] = [shards.get(number) for number in range(max(shards) + 1)]
    _write_json(folder / _NAMES["manifest"], said)


def _write_ids(folder: Path, plan: Plan, shards: dict[int, dict[str, Any]]) -> None:
    absent = {item for shard in shards.values() for item, _, _ in shard["quarantine"]}
    path = folder / _NAMES["ids"]
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{json.dumps(name)}\n" for item, name in enumerate(plan.ids) if item not in absent)
    _write_manifest(folder, plan, shards, digest(path))


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / _NAMES["manifest"]
    if not path.exists():
        return {}
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
        said = json.loads(path.read_text(encoding="utf-8"))
        if _is_manifest(said):
            return said
    raise InputError(
        f"{path} is damaged.", "Wanted the manifest of a store.", f"Delete {folder} and encode again."
    )


def _is_manifest(said: dict[str, Any]) -> bool:
    """Whether what was read has the form of a manifest. KeyError or TypeError where it has not."""
    written = [shard for shard in said["shards"] if shard is not None]
    digests = all(isinstance(shard["sha256"], str) for shard in written)
    lists = all(len(line) == 3 for shard in written for line in shard["quarantine"])  # noqa: PLR2004
    return digests and lists and said["shard_rows"] >= 1 and all(shard["rows"] >= 0 for shard in written)


def _check_header(folder: Path, said: dict[str, Any], plan: Plan) -> None:
    for name, wanted in plan.header().items():
        if said and said.get(name) != wanted:
            raise InputError(
                f"The store {folder} has the {name} {said.get(name)!r}.",
                f"Wanted {wanted!r}.",
                "Delete the folder, or choose another cache.",
            )


def _intact(folder: Path, said: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The shards whose files have the hashes that the manifest names."""
    return {
        number: shard
        for number, shard in enumerate(said.get("shards", []))
        if shard is not None and digest(folder / shard_name(number)) == shard["sha256"]
    }


def _warn_of_damage(folder: Path, said: dict[str, Any], intact: dict[int, dict[str, Any]]) -> None:
    for number, shard in enumerate(said.get("shards", [])):
        if shard is not None and number not in intact:
            warnings.warn(
                f"{folder / shard_name(number)} is damaged or gone: encoding it again.", stacklevel=4
            )


def _ids_intact(folder: Path, said: dict[str, Any]) -> bool:
    path = folder / _NAMES["ids"]
    return "ids_sha256" in said and digest(path) == said["ids_sha256"]


def _mapped(folder: Path, number: int, said: dict[str, Any]) -> Float[np.ndarray, "row dim"]:
    path = folder / shard_name(number)
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Wanted a shard.", "Encode again.") from None
    if vectors.shape != (said["shards"][number]["rows"], said["dim"]) or vectors.dtype != said["dtype"]:
        raise InputError(
            f"{path} is {vectors.dtype} of shape {vectors.shape}.",
            "Wanted what the manifest says.",
            "Encode again.",
        )
    return vectors


def _add_timing(folder: Path, rows: int, seconds: float) -> None:
    path = folder / _NAMES["timing"]
    before = _timing(folder)
    _write_json(path, {"rows": before[0] + rows, "seconds": before[1] + seconds})


def _timing(folder: Path) -> tuple[int, float]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((folder / _NAMES["timing"]).read_text(encoding="utf-8"))
        return int(said["rows"]), float(said["seconds"])
    return 0, 0.0


def _rate(folder: Path) -> float | None:
    rows, seconds = _timing(folder)
    return rows / seconds if seconds > 0 else None
