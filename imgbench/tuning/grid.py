"""The grid that is searched where none was asked for."""

from __future__ import annotations

import math

_FEWEST_FOR_A_LIST = 39  # images a list, below which FAISS's k-means warns
_FEWEST_PARTS = 8
_MOST_PARTS = 256
_GRAPHS = ("HNSW16", "HNSW32")
_EFFORTS = (16, 32, 64, 128, 256, 512)
_REFINED = (1, 2, 4, 8, 16, 32)


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
    most = max(1, images // _FEWEST_FOR_A_LIST)
    usual = min(2 ** round(math.log2(2 * math.sqrt(images))), 2 ** int(math.log2(most)))
    sizes = sorted({max(1, usual // 4), usual, min(4 * usual, 2 ** int(math.log2(most)))})
    efforts = [effort for effort in _EFFORTS if effort <= max(images, _EFFORTS[0])]
    grid = [f"IVF{lists},Flat?nprobe={_doubling(lists)}" for lists in sizes if lists > 1]
    grid += [f"{graph}?efSearch={_written(efforts)}" for graph in _GRAPHS]
    grid += ["SQfp16", "SQ8", "SQ6", "SQ4"]
    if usual > 1:
        grid.append(f"IVF{usual},SQ8?nprobe={_doubling(usual)}")
    parts = max(part for part in range(1, dim + 1) if dim % part == 0 and part <= max(1, dim // 4))
    if (
        _FEWEST_PARTS <= parts <= _MOST_PARTS and images >= _FEWEST_FOR_A_LIST * 16
    ):  # PQ of 4 bits: 16 centroids
        grid += [f"PQ{2 * parts}x4fs"] * (dim % (2 * parts) == 0)
        grid.append(f"PQ{parts}x4fs,RFlat?k_factor={_written(_REFINED)}")
        if usual >= 16:  # noqa: PLR2004  below, its ladder would be those above
            probes = [probe for probe in (4, 8, 16, 32, 64) if probe <= usual // 2]
            grid.append(f"IVF{usual},PQ{parts}x4fs,RFlat?nprobe={_written(probes)}&k_factor=4,16")
    return grid


def _doubling(lists: int) -> str:
    return _written([2**power for power in range(max(1, int(math.log2(lists))))])


def _written(values: list[int] | tuple[int, ...]) -> str:
    return ",".join(map(str, values))
