"""Search parameters by name: which an index has, and the FAISS object that carries them for one call.

FAISS takes a parameter object of the wrong class in silence (HNSW, Flat, SQ), and an object replaces all
the attributes of the index, so that a field left out falls back to the default of its class. So the object
is built
from the concrete class of the index, always with every field, and the index itself is never changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgbench.errors import InputError, unknown
from imgbench.index._faiss import FaissIndex, FaissRequest, concrete, faiss
from imgbench.index.spec import Number

GPU_LIMIT = 2048  # of k and of nprobe: faiss/gpu/impl/IndexUtils.cu


@dataclass(frozen=True)
class Parameter:
    """One search parameter of an index: its value where none is given, and the values it takes."""

    name: str
    default: Number
    low: Number
    high: Number | None = None
    whole: bool = True

    def checked(self, value: object) -> Number:
        """`value` as a plain number; InputError where it is of another kind or out of range."""
        number = self._number(value)
        if number is None:
            kind = "a whole number" if self.whole else "a number"
            raise InputError(
                f"{self.name} is {value!r}.", f"It is {kind}.", f"Pass {self.name}={self.default}."
            )
        if number < self.low or (self.high is not None and number > self.high):
            wanted = f"at least {self.low}" if self.high is None else f"between {self.low} and {self.high:,}"
            raise InputError(
                f"{self.name} is {value!r}.",
                f"On this index it is {wanted}.",
                f"Pass {self.name}={self._near(number)}.",
            )
        return number

    def _number(self, value: object) -> Number | None:
        if isinstance(value, bool):
            return None
        if hasattr(value, "__index__"):
            return int(value)  # pyright: ignore[reportArgumentType]
        if self.whole or not hasattr(value, "__float__"):
            return None
        number = float(value)  # pyright: ignore[reportArgumentType]
        return number if math.isfinite(number) else None

    def _near(self, number: Number) -> Number:
        return self.low if self.high is None or number < self.low else self.high


def parameters(index: FaissIndex) -> dict[str, Parameter]:
    """The parameters that change what a search of `index` does, by name; none for Flat and its like."""
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return parameters(index.index)
    if isinstance(index, faiss.IndexRefine):
        return {
            **parameters(index.base_index),
            "k_factor": Parameter("k_factor", float(index.k_factor), 1, whole=False),
        }
    if isinstance(index, faiss.IndexHNSW):
        return {"efSearch": Parameter("efSearch", int(index.hnsw.efSearch), 1, _INT)}
    if isinstance(index, faiss.IndexRaBitQ):
        return {"qb": Parameter("qb", int(index.qb), 0, _QB)}
    if _on_gpu(index):
        return {"nprobe": Parameter("nprobe", int(index.nprobe), 1, min(int(index.nlist), GPU_LIMIT))}
    return _ivf(index) if isinstance(index, faiss.IndexIVF) else {}


_INT = 2**31 - 1  # efSearch is a C int
_QB = 8  # bits of a query in RaBitQ; FAISS ends the process at more


def _ivf(index: FaissIndex) -> dict[str, Parameter]:
    if isinstance(index, faiss.IndexIVFAdditiveQuantizerFastScan):
        return {}  # FAISS: "search params not supported for this index"
    found = [Parameter("nprobe", int(index.nprobe), 1, int(index.nlist))]
    if not isinstance(index, faiss.IndexIVFFastScan):  # those ignore max_codes, or refuse it
        found.append(Parameter("max_codes", int(index.max_codes), 0, 2**62))
    if isinstance(index, _ivf_rabitq()):
        found.append(Parameter("qb", int(index.qb), 0, _QB))
    quantizer = concrete(index.quantizer)
    if isinstance(quantizer, faiss.IndexHNSW):
        found.append(Parameter("quantizer_efSearch", int(quantizer.hnsw.efSearch), 1, _INT))
    return {parameter.name: parameter for parameter in found}


def _ivf_rabitq() -> tuple[type, ...]:
    return faiss.IndexIVFRaBitQ, faiss.IndexIVFRaBitQFastScan


def _on_gpu(index: FaissIndex) -> bool:
    return hasattr(faiss, "GpuIndexIVF") and isinstance(index, faiss.GpuIndexIVF)


def complete(index: FaissIndex, name: str, given: Mapping[str, object]) -> dict[str, Number]:
    """Every parameter of `index` with its value: those `given`, checked, and the defaults of the others.

    InputError for a name that the index lacks or that would have no effect on it, and for a value out of
    range.
    """
    known = parameters(index)
    for word in given:
        if word not in known:
            raise _lacking(name, word, known)
    return {
        word: parameter.checked(given[word]) if word in given else parameter.default
        for word, parameter in known.items()
    }


def _lacking(name: str, word: str, known: Mapping[str, Parameter]) -> InputError:
    if known:
        return unknown(f"a search parameter of {name}", word, known)
    return InputError(
        f"{word!r} is not a search parameter of {name}.",
        "This index has none: every search compares the same codes.",
        f"Leave out {word}.",
    )


def request(index: FaissIndex, values: Mapping[str, Number], k: int) -> FaissRequest:
    """The SearchParameters object for one call with all `values` from `complete`, or None where FAISS takes
    none.
    """
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return request(index.index, values, k)  # forwards them to the index inside [IndexPreTransform.cpp]
    if isinstance(index, faiss.IndexRefine):
        depth = candidates(index, values, k)
        base = request(index.base_index, values, depth)
        # FAISS cuts float32(k_factor) * k down to a whole number: half a candidate more keeps it at `depth`.
        return faiss.IndexRefineSearchParameters(k_factor=(depth + 0.5) / k, base_index_params=base)
    if isinstance(index, faiss.IndexHNSW):
        return _hnsw(index, int(values["efSearch"]))
    if isinstance(index, faiss.IndexRaBitQ):
        return faiss.RaBitQSearchParameters(qb=values["qb"], centered=index.centered)
    if _on_gpu(index):
        return faiss.SearchParametersIVF(nprobe=values["nprobe"])
    return _ivf_request(index, values) if "nprobe" in values and isinstance(index, faiss.IndexIVF) else None


def candidates(index: FaissIndex, values: Mapping[str, Number], k: int) -> int:
    """How many candidates a refinement compares again: k times k_factor, at most all images."""
    return max(k, min(int(k * values["k_factor"]), int(index.ntotal)))


def _hnsw(index: FaissIndex, ef: int) -> FaissRequest:
    hnsw = index.hnsw
    return faiss.SearchParametersHNSW(
        efSearch=ef,
        check_relative_distance=hnsw.check_relative_distance,
        bounded_queue=hnsw.search_bounded_queue,
    )


def _ivf_request(index: FaissIndex, values: Mapping[str, Number]) -> FaissRequest:
    fields: dict[str, Any] = {"nprobe": values["nprobe"], "max_codes": values.get("max_codes", 0)}
    if "quantizer_efSearch" in values:
        fields["quantizer_params"] = _hnsw(concrete(index.quantizer), int(values["quantizer_efSearch"]))
    if isinstance(index, faiss.IndexIVFPQ):
        own = {"scan_table_threshold": index.scan_table_threshold, "polysemous_ht": index.polysemous_ht}
        return faiss.IVFPQSearchParameters(**fields, **own)
    if isinstance(index, _ivf_rabitq()):
        centered = getattr(index, "centered", False)
        return faiss.IVFRaBitQSearchParameters(**fields, qb=values["qb"], centered=centered)
    return faiss.SearchParametersIVF(**fields)
