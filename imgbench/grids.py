"""The operating points that are measured where nobody asked for others."""

from __future__ import annotations

import math
from collections.abc import Sequence

_FEWEST_FOR_A_LIST = 39  # images a list, below which FAISS's k-means warns
_MANY_LISTS = 64
_FEWEST_PARTS = 8
_MOST_PARTS = 256
_CODES = 16  # centroids of a product quantiser of 4 bits
_GRAPHS = ("HNSW16", "HNSW32")
_EFFORTS = (16, 32, 64, 128, 256, 512)
_REFINED = (1, 2, 4, 8, 16, 32)


def default_indexes(images: int, dim: int) -> list[str]:
    """The grid of a benchmark that was asked for none: exact search and the families that people use most.

    `nlist` is the power of two next to 2 sqrt(images), and at most images / 39, the fewest that FAISS trains
    without a warning. The product quantiser cuts vectors into parts of 4 dimensions, or the next larger that
    divides `dim`; it is left out where that gives fewer than 8 parts.

    >>> default_indexes(20_000, 128)
    ['Flat', 'IVF256,Flat?nprobe=1,4,16', 'HNSW32?efSearch=16,64', 'SQ8', 'PQ32x4fs,RFlat?k_factor=1,8']
    >>> default_indexes(500, 27)
    ['Flat', 'IVF8,Flat?nprobe=1,2,4', 'HNSW32?efSearch=16,64', 'SQ8']
    """
    nlist = _lists(images)
    shares = (256, 64, 16) if nlist >= _MANY_LISTS else (8, 4, 2)
    probes = ",".join(map(str, sorted({max(1, nlist // share) for share in shares})))
    parts = _parts(dim)
    quantised = [f"PQ{parts}x4fs,RFlat?k_factor=1,8"] if parts >= _FEWEST_PARTS else []
    return ["Flat", f"IVF{nlist},Flat?nprobe={probes}", "HNSW32?efSearch=16,64", "SQ8", *quantised]


def default_grid(images: int, dim: int) -> list[str]:
    """About sixty points of the families that people use, for a corpus of that size.

    IVF with a quarter, one and four times the usual number of lists (the power of two next to
    2 sqrt(images), at most images / 39) and `nprobe` doubling from 1 to half of them; HNSW; scalar quantisers
    of 16, 8, 6 and 4 bits; product quantisers with parts of 2 dimensions, and of 4 and refined, unless these
    are fewer than 8. Efforts that exceed the images are left out.

    >>> for spec in default_grid(20_000, 128):
    ...     print(spec)
    IVF64,Flat?nprobe=1,2,4,8,16,32
    IVF256,Flat?nprobe=1,2,4,8,16,32,64,128
    IVF512,Flat?nprobe=1,2,4,8,16,32,64,128,256
    HNSW16?efSearch=16,32,64,128,256,512
    HNSW32?efSearch=16,32,64,128,256,512
    SQfp16
    SQ8
    SQ6
    SQ4
    IVF256,SQ8?nprobe=1,2,4,8,16,32,64,128
    PQ64x4fs
    PQ32x4fs,RFlat?k_factor=1,2,4,8,16,32
    IVF256,PQ32x4fs,RFlat?nprobe=4,8,16,32,64&k_factor=4,16
    """
    usual = _lists(images)
    sizes = sorted({max(1, usual // 4), usual, min(4 * usual, _most_lists(images))})
    efforts = [effort for effort in _EFFORTS if effort <= max(images, _EFFORTS[0])]
    grid = [f"IVF{lists},Flat?nprobe={_doubling(lists)}" for lists in sizes if lists > 1]
    grid += [f"{graph}?efSearch={_written(efforts)}" for graph in _GRAPHS]
    grid += ["SQfp16", "SQ8", "SQ6", "SQ4"]
    if usual > 1:
        grid.append(f"IVF{usual},SQ8?nprobe={_doubling(usual)}")
    parts = _parts(dim)
    if _FEWEST_PARTS <= parts <= _MOST_PARTS and images >= _FEWEST_FOR_A_LIST * _CODES:
        grid += [f"PQ{2 * parts}x4fs"] * (dim % (2 * parts) == 0)
        grid.append(f"PQ{parts}x4fs,RFlat?k_factor={_written(_REFINED)}")
        if usual >= 16:  # noqa: PLR2004  below, its ladder would be those above
            probes = [probe for probe in (4, 8, 16, 32, 64) if probe <= usual // 2]
            grid.append(f"IVF{usual},PQ{parts}x4fs,RFlat?nprobe={_written(probes)}&k_factor=4,16")
    return grid


def _lists(images: int) -> int:
    """The power of two next to 2 sqrt(images), if FAISS trains so many lists without a warning."""
    return min(2 ** round(math.log2(2 * math.sqrt(images))), _most_lists(images))


def _most_lists(images: int) -> int:
    return 2 ** int(math.log2(max(1, images / _FEWEST_FOR_A_LIST)))


def _parts(dim: int) -> int:
    """Parts of 4 dimensions, or of the next larger number that divides `dim`."""
    return max(part for part in range(1, dim + 1) if dim % part == 0 and part <= max(1, dim // 4))


def _doubling(lists: int) -> str:
    return _written([2**power for power in range(max(1, int(math.log2(lists))))])


def _written(values: Sequence[int]) -> str:
    return ",".join(map(str, values))
