"""Index: images that can be searched, built by FAISS from a factory string."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Int64

from imgbench import environment
from imgbench.embeddings import Embeddings, check_embeddings
from imgbench.errors import InputError
from imgbench.index import cost, factory, files, gpu, searching, stages, training
from imgbench.index import parameters as named
from imgbench.index._faiss import FaissIndex, compile_options, concrete, faiss
from imgbench.index.spec import IndexSpec, Number
from imgbench.run import Run

Searcher: TypeAlias = Callable[
    [Float32[np.ndarray, "query dim"]],
    tuple[Float32[np.ndarray, "query k"], Int64[np.ndarray, "query k"]],
]


@dataclass(frozen=True, eq=False)
class Index:
    """Images that can be searched: an immutable FAISS index and the ids of its rows.

    `spec` is what was built, without a grid. `train_seconds` and `add_seconds` hold FAISS's work only,
    neither the reading nor the cast of the vectors. `notes` are sentences about training that a report
    should show. An index that was wrapped has no seed and no times.

    >>> import numpy as np
    >>> from imgbench.embeddings import Embeddings
    >>> images = Embeddings(["a", "b", "c"], np.float32([[1, 0], [0, 1], [0.6, 0.8]]))
    >>> index = Index.build("Flat", images)
    >>> index
    Index('Flat', 3 images x 2, exact)
    >>> index.search(Embeddings(["q"], np.float32([[0, 1]])), k=2).to_dict()
    {'q': {'b': 2.0, 'c': 1.0}}
    """

    spec: str
    ids: tuple[str, ...]
    dim: int
    seed: int | None
    train_seconds: float
    add_seconds: float
    notes: tuple[str, ...] = ()
    _faiss: Any = field(default=None, repr=False)

    @staticmethod
    def check(spec: str | IndexSpec, *, dim: int, images: int, seed: int = 0) -> IndexSpec:
        """The parsed specification, or the error that `build` would raise, found before any work.

        InputError: text that FAISS cannot read, a family that cannot rank by inner product, more lists or
        centroids than images, a PQ that does not divide `dim`, a search parameter that the index lacks, no
        GPU for `gpu:`, a seed that is no whole number from 0 to a billion.

        >>> Index.check("IVF8,Flat?nprobe=1,4", dim=2, images=100).grid
        ({'nprobe': 1}, {'nprobe': 4})
        """
        _check_seed(seed)
        parsed = IndexSpec.parse(spec) if isinstance(spec, str) else spec
        _empty(parsed, dim, images)
        return parsed

    @classmethod
    def build(
        cls, spec: str | IndexSpec, images: Embeddings, *, seed: int = 0, threads: int | None = None
    ) -> Index:
        """An index of `images`, trained with `seed` and filled in row order.

        float16 vectors are cast in chunks. The same vectors, seed and FAISS give the same bytes, and seed 0
        those of FAISS's own seeds. `threads` limits FAISS while it builds. The grid of the specification is
        checked and otherwise left to the caller. InputError as in `check`.
        """
        _check_seed(seed)
        check_embeddings("images", images)
        parsed = IndexSpec.parse(spec) if isinstance(spec, str) else spec
        index = _empty(parsed, images.dim, len(images))
        training.prepare(index, seed)
        rows = min(len(images), training.rows_needed(index))
        notes = training.notes(index, rows)
        with _threads(threads):
            index = gpu.to_gpu(index, parsed.name) if parsed.gpu else index
            if parsed.gpu:
                training.prepare(index, seed)  # the copy starts with FAISS's own seeds
            train_seconds = training.train(index, images.vectors, rows, name=parsed.name, seed=seed)
            add_seconds = training.add(index, images.vectors)
        return cls(parsed.name, images.ids, images.dim, seed, train_seconds, add_seconds, notes, index)

    @classmethod
    def wrap(cls, ids: Iterable[str], faiss_index: FaissIndex, *, name: str | None = None) -> Index:
        """A FAISS index that exists, whose row r is the image `ids[r]`; `name` is its spec, else its class.

        It has to rank by inner product and must not change any more. InputError for another metric or
        number of ids.
        """
        names = tuple(map(str, ids))
        if not isinstance(faiss_index, faiss.Index):
            raise InputError(
                f"A {type(faiss_index).__name__} came.",
                "Index.wrap takes a FAISS index.",
                "Pass faiss.read_index(...).",
            )
        index = concrete(faiss_index)
        factory.check_ready(index, names)
        # The concrete view borrows the object: this keeps the owner alive.
        index.referenced_objects = [*getattr(index, "referenced_objects", []), faiss_index]
        return cls(name or type(index).__name__, names, int(index.d), None, 0.0, 0.0, (), index)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.ids)

    def __repr__(self) -> str:
        kind = "exact" if self.exact else "approximate"
        return f"Index({self.spec!r}, {len(self)} images x {self.dim}, {kind})"

    @property
    def kind(self) -> str:
        """The FAISS class that holds the images, such as IndexIVFFlat."""
        return type(concrete(self._faiss)).__name__

    @property
    def exact(self) -> bool:
        """Whether every search compares the query with every vector as it came (Flat)."""
        return searching.is_flat(self._faiss)

    @property
    def parameters(self) -> dict[str, Number]:
        """The search parameters that have an effect on this index, and the value of each where none is given.

        The values are FAISS's defaults: nprobe=1, max_codes=0 (no limit), efSearch=16, k_factor=1.0, and
        qb=4 for RaBitQ (8 with fast scan). `quantizer_efSearch` is the efSearch of a graph over the
        centroids of an IVF.
        """
        return {name: parameter.default for name, parameter in named.parameters(self._faiss).items()}

    @cached_property
    def bytes(self) -> int:
        """The size of the index as a file, in bytes."""
        return cost.serialised_bytes(self._faiss)

    @property
    def bytes_per_image(self) -> float:
        """Bytes of the index, centroids and graph included, divided by its images."""
        return self.bytes / len(self)

    def search(self, queries: Embeddings, k: int, **params: Number) -> Run:
        """The k best images of each query; `params` hold for this call alone.

        Every query is searched alike whatever the number of threads. Exact search settles ties by the row,
        those at the cut too, so that its result does not depend on the batch either; approximate families
        may keep another of two images with equal scores at the cut. A list that runs out leaves fewer than
        k hits. InputError for a parameter that the index lacks, k outside 1 to the number of images,
        queries of another dimension.
        """
        check_embeddings("queries", queries)
        self._check_dim(queries.dim)
        k, values = self._checked(k, params)
        vectors = np.ascontiguousarray(queries.vectors, dtype=np.float32)
        request = named.request(self._faiss, values, k)
        scores, rows = searching.search(self._faiss, vectors, k, request)
        return Run.trusted(queries.ids, self.ids, scores, rows)

    def stages(
        self,
        images: Embeddings,
        queries: Embeddings,
        k: int,
        grid: Sequence[Mapping[str, Number]] = ({},),
        *,
        found: Sequence[Run] | None = None,
    ) -> list[tuple[stages.Stage, ...]]:
        """For each point of `grid`, what lies between exact search and it, one thing given up at a time.

        `images` are those that the index was built from, `found` the points' runs where they exist already.
        The stages are the transform, the quantiser and the search, as far as the index has them (Flat: none).
        A stage that does not depend on a parameter is searched once for the whole grid. An index on the GPU
        is copied to the CPU for them. InputError for other images, runs of other searches, and an index whose
        codes cannot be compared exhaustively.

        >>> rng = np.random.default_rng(0)
        >>> images = Embeddings.normalised(list(map(str, range(99))), rng.normal(size=(99, 8)))
        >>> index = Index.build("IVF4,SQ8", images)
        >>> [stage.name for stage in index.stages(images, images, 10, [{"nprobe": 2}])[0]]
        ['quantiser (SQ8)', 'search (nprobe=2)']
        """
        wanted = len(grid) if found is not None else 0, k
        like = self.ids, self.dim
        stages.check(self.spec, images, queries, like=like, found=found or (), wanted=wanted)
        points = [(params, self._checked(k, params)[1]) for params in grid]
        spec = None if self.seed is None else self.spec

        def last(number: int) -> Run:
            return found[number] if found is not None else self.search(queries, k, **grid[number])

        index = gpu.to_cpu(self._faiss)
        return stages.points(index, spec, points, last, images=images, queries=queries, k=k)

    def searcher(self, k: int, **params: Number) -> Searcher:
        """FAISS's search alone, for timing: float32 (query, dim) -> scores (query, k), rows (query, k).

        Parameters are checked here, once, and the array at the first call. Rows come in FAISS's order, -1
        where missing.
        """
        k, values = self._checked(k, params)
        request = named.request(self._faiss, values, k)
        index, checked = self._faiss, False

        def call(queries: Float32[np.ndarray, "query dim"]) -> tuple[Any, Any]:
            nonlocal checked
            if not checked:
                self._check_array(queries)
                checked = True
            return index.search(queries, k, params=request)

        return call

    def distance_computations(self, queries: Embeddings, k: int, **params: Number) -> float | None:
        """How many vectors, codes and centroids a query is compared with: the mean; None if not counted.

        Flat, SQ, PQ, RaBitQ: the number of images. IVF: its centroids plus the codes of the probed lists.
        HNSW: the vectors met. Refinement adds k times k_factor. One search of at most 1,000 of the queries,
        to be run while nothing else searches: FAISS counts globally.
        """
        self._check_dim(queries.dim)
        k, values = self._checked(k, params)
        vectors = np.ascontiguousarray(queries.vectors, dtype=np.float32)
        return cost.comparisons(self._faiss, vectors, k, values)

    def save(self, path: str | Path) -> None:
        """Write the index to `path` and its description to `path`.json: each complete, or not at all."""
        facts: dict[str, object] = {
            "spec": self.spec,
            "dim": self.dim,
            "seed": self.seed,
            "train_seconds": self.train_seconds,
            "add_seconds": self.add_seconds,
            "notes": list(self.notes),
            "faiss": compile_options(),
        }
        files.write(Path(path), gpu.to_cpu(self._faiss), self.ids, facts)

    @classmethod
    def load(cls, path: str | Path) -> Index:
        """The index saved at `path`; InputError if a byte changed, a file is missing or they do not match."""
        index, record = files.read(Path(path))
        spec = str(record["spec"])
        if spec.startswith("gpu:"):
            gpu.check(index, spec)
            index = gpu.to_gpu(index, spec)
        times = float(record["train_seconds"]), float(record["add_seconds"])
        return cls(spec, tuple(record["ids"]), index.d, record["seed"], *times, tuple(record["notes"]), index)

    def _checked(self, k: int, params: Mapping[str, object]) -> tuple[int, dict[str, Number]]:
        limit = min(len(self), named.GPU_LIMIT) if gpu.on_gpu(self._faiss) else len(self)
        if isinstance(k, bool) or not hasattr(k, "__index__") or not 1 <= k <= limit:
            raise InputError(
                f"k is {k!r}.", f"This index returns 1 to {limit:,} images.", f"Pass k={min(10, limit)}."
            )
        values = named.complete(self._faiss, self.spec, params)
        return int(k), values

    def _check_dim(self, dim: int) -> None:
        if dim != self.dim:
            raise InputError(
                f"The queries have {dim} dimensions.",
                f"The images of {self.spec} have {self.dim}.",
                "Encode both with the same encoder.",
            )

    def _check_array(self, queries: object) -> None:
        if not isinstance(queries, np.ndarray) or queries.ndim != 2 or queries.dtype != np.float32:  # noqa: PLR2004
            came = (
                f"{queries.dtype} {queries.shape}"
                if isinstance(queries, np.ndarray)
                else type(queries).__name__
            )
            raise InputError(
                f"The queries are {came}.",
                "A searcher takes float32 (query, dim).",
                "Convert them once, beforehand.",
            )
        self._check_dim(queries.shape[1])
        if not np.isfinite(queries).all():
            raise InputError("The queries are not finite.", "NaN finds nothing.", "Remove those rows.")


def _empty(spec: IndexSpec, dim: int, images: int) -> FaissIndex:
    if images < 1:
        raise InputError("There are no images.", "An index needs at least one.", "Check the corpus.")
    index = factory.empty(spec.factory, dim, images)
    if spec.gpu:
        gpu.check(index, spec.name)
    for params in spec.grid:
        named.complete(index, spec.name, params)
    return index


def _check_seed(seed: int) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < training.SEEDS:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"The seed is {seed!r}.", f"It is a whole number below {training.SEEDS:,}.", "Pass seed=0."
        )


def _threads(count: int | None) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext() if count is None else environment.threads(count)
