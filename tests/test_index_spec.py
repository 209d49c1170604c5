"""Index specifications: what parses, what it is called, what is refused."""

from __future__ import annotations

import re

import pytest

from imgbench.errors import InputError
from imgbench.index import Index, IndexSpec


@pytest.mark.parametrize(
    ("text", "factory", "gpu", "keys"),
    [
        ("Flat", "Flat", False, ["Flat"]),
        (" Flat ", "Flat", False, ["Flat"]),
        ("gpu:Flat", "Flat", True, ["gpu:Flat"]),
        ("HNSW32?efSearch=16,64", "HNSW32", False, ["HNSW32?efSearch=16", "HNSW32?efSearch=64"]),
        ("gpu:IVF8,Flat?nprobe=2", "IVF8,Flat", True, ["gpu:IVF8,Flat?nprobe=2"]),
        (
            "IVF8,SQ8,Refine(SQfp16)?k_factor=1.5",
            "IVF8,SQ8,Refine(SQfp16)",
            False,
            ["IVF8,SQ8,Refine(SQfp16)?k_factor=1.5"],
        ),
        ("F?b=2,1&a=1e2", "F", False, ["F?b=2&a=100.0", "F?b=1&a=100.0"]),
    ],
)
def test_a_specification_parses_and_names_its_points(text, factory, gpu, keys):
    spec = IndexSpec.parse(text)
    assert (spec.factory, spec.gpu) == (factory, gpu)
    assert [spec.key(params) for params in spec.grid] == keys
    assert [IndexSpec.parse(key).key(IndexSpec.parse(key).grid[0]) for key in keys] == keys


def test_the_grid_is_the_cross_product_in_the_order_written():
    spec = IndexSpec.parse("IVF8,SQ8,RFlat?nprobe=4,1&k_factor=2,8")
    assert spec.grid == tuple({"nprobe": n, "k_factor": f} for n in (4, 1) for f in (2, 8))
    assert spec.key({"k_factor": 2, "nprobe": 4}) == "IVF8,SQ8,RFlat?nprobe=4&k_factor=2"
    assert all(isinstance(value, int) for point in spec.grid for value in point.values())
    assert spec.name == "IVF8,SQ8,RFlat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not an index specification. It starts with a FAISS factory string. Write it like IVF256,Flat?nprobe=1,4,16."),
        ("?nprobe=1", "is not an index specification"),
        ("gpu:", "is not an index specification"),
        ("IVF8, Flat", "is not an index specification"),
        ("Flat?", "'' in 'Flat?' is not a search parameter. One is written name=value,value."),
        ("Flat?nprobe", "'nprobe' in 'Flat?nprobe' is not a search parameter."),
        ("Flat?=1", "'=1' in 'Flat?=1' is not a search parameter."),
        ("Flat?a=1&", "'' in 'Flat?a=1&' is not a search parameter."),
        ("Flat?a=", "'' as a value of a in 'Flat?a=' is not a number."),
        ("Flat?a=1,", "'' as a value of a in 'Flat?a=1,' is not a number."),
        ("Flat?a=one", "'one' as a value of a in 'Flat?a=one' is not a number."),
        ("Flat?a=nan", "'nan' as a value of a"),
        ("Flat?a=1_0", "'1_0' as a value of a"),
        ("Flat?a=1, 2", "' 2' as a value of a"),
        ("Flat?a=1?b=2", "'1?b=2' as a value of a"),
        ("Flat?a=1&a=2", "a stands twice in 'Flat?a=1&a=2'. Each parameter stands once with all its values. Write a=1,4,16."),
        ("Flat?a=4,1,4.0", "a has the value 4.0 twice in 'Flat?a=4,1,4.0'."),
    ],
)  # fmt: skip
def test_malformed_text_is_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        IndexSpec.parse(text)


def test_a_specification_is_text():
    with pytest.raises(InputError, match=r"An index specification is a int. It is text."):
        IndexSpec.parse(7)  # pyright: ignore[reportArgumentType]


# ruff: noqa: E501  a row of these tables is one line
REFUSED = [
    ("Falt", "'Falt' is not an index that FAISS can build. Known: Flat, HNSW32, HNSW32,SQ8,", "Did you mean 'Flat'?"),
    ("IVF16,Flt", "'IVF16,Flt' is not an index that FAISS can build.", "Did you mean 'IVF256,Flat'?"),
    ("NSG32", "'NSG32' does not work with inner product here. NSG graphs lose most", "Use HNSW32."),
    ("HNSW32,RaBitQ", "FAISS has this graph for L2 only.", "Use HNSW32,SQ8, RaBitQ or IVF256,RaBitQ."),
    ("HNSW32,FlatPanorama8", "FAISS has this graph for L2 only.", "Use HNSW32."),
    ("HNSW32,PQ16", "FAISS builds this graph for L2 in any case.", "Use HNSW32,SQ8 or IVF256,PQ16."),
    ("HNSW32_PQ16", "FAISS builds this graph for L2 in any case.", "Use HNSW32,SQ8"),
    ("HNSW8_16+PQ8", "FAISS builds this graph for L2 in any case.", "Use HNSW32,SQ8"),
    ("HNSW16,SQtq4", "A graph cannot compare these codes with each other.", "Use HNSW32,SQ8."),
    ("HNSW16,SQ0", "A graph cannot compare these codes with each other.", "Use HNSW32,SQ8."),
    ("HNSW1", "A graph needs at least 2 neighbours an image.", "Use HNSW32."),
    ("LSH", "Binary hashes are compared by Hamming distance", "Use RaBitQ."),
    ("ITQ16,LSH", "Binary hashes are compared by Hamming distance", "Use RaBitQ."),
    ("SVSFlat", "This FAISS is built without SVS.", "Use HNSW32 or IVF256,SQ8."),
    ("IDMap2,Flat", "The ids are kept by imgbench itself.", "Leave out IDMap."),
    ("Flat,IDMap", "The ids are kept by imgbench itself.", "Leave out IDMap."),
    ("FlatPanorama8", "FAISS reads FlatPanorama behind IVF only.", "Use Flat or IVF256,FlatPanorama8."),
    ("ZnLattice8x10_6", "FAISS has this codec for L2 only.", "Use SQ4 or PQ16."),
    ("IMI2x4,Flat", "FAISS has the multi-index for L2 only.", "Use IVF256,PQ16."),
    ("Residual4x6,PQ8", "FAISS has residual coarse quantisers for L2 only.", "Use IVF256,PQ16."),
    ("IVF16,PQ8+8", "FAISS has PQ with PQ refinement for L2 only.", "Use IVF256,PQ16,RFlat."),
    ("IVF16,RQ4x4fs", "FAISS lets no search change it.", "Use IVF256,PQ16x4fs."),
    ("SQ0", "SQ0 stores nothing of a vector.", "Use SQ4 or SQ8."),
    ("SQ8_direct", "SQ8_direct stores whole numbers", "Use SQ8."),
    ("IVF501,Flat", "'IVF501,Flat' asks for 501 lists for 500 images. nlist lies between 1 and", "Use about 89."),
    ("IVF0,Flat", "'IVF0,Flat' asks for 0 lists", "Use about 89."),
    ("IVF64k,Flat", "'IVF64k,Flat' asks for 65,536 lists", "Use about 89."),
    ("IVF1000000000,Flat", "asks for 1,000,000,000 lists", "Use about 89."),
    ("PQ7", "'PQ7' cuts 64 dimensions into unequal parts.", "divides 64: 1, 2, 4, 8, 16, 32, 64."),
    ("PCA30,PQ7", "'PCA30,PQ7' cuts 30 dimensions into unequal parts.", "divides 30: 1, 2, 3, 5, 6, 10, 15, 30."),
    ("IVF16,PQ7x4fs", "cuts 64 dimensions into unequal parts.", "reduce the dimensions first with PCA or OPQ."),
    ("OPQ15,Flat", "cuts 64 dimensions into unequal parts.", "Use one of these"),
    ("PCA100,Flat", "'PCA100,Flat' asks PCA for 100 of 64 dimensions. PCA only takes dimensions away.", "Use at most 64."),
    ("PQ16x12", "'PQ16x12' trains PQ codes of 12 bits on 500 images. They need at least 4,096 images.", "Use SQ8"),
    ("SQ8,Refine(IVF4,Flat)", "refines with an index that is not a list of codes.", "Use RFlat, Refine(SQfp16)"),
    ("IVF8,Flat?nprobs=2", "'nprobs' is not a search parameter of IVF8,Flat. Known: max_codes, nprobe.", "Did you mean 'nprobe'?"),
    ("Flat?nprobe=2", "'nprobe' is not a search parameter of Flat. This index has none:", "Leave out nprobe."),
    ("IVF8,Flat?nprobe=4,9", "nprobe is 9. On this index it is between 1 and 8.", "Pass nprobe=8."),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message", "advice"), REFUSED, ids=[spec for spec, _, _ in REFUSED])
def test_check_refuses_before_any_work(spec, message, advice):
    with pytest.raises(InputError) as caught:
        Index.check(spec, dim=64, images=500)
    assert message in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    ["IVF16_HNSW16,PQ8", "IVF16_HNSW,RaBitQ", "IVF16(HNSW8,Flat),SQ8", "PQ16x8", "HNSW", "IVF500,Flat", "EDEN4", "RQ4x8", "SQtq4"],
)  # fmt: skip
def test_their_neighbours_are_accepted(spec):
    assert Index.check(spec, dim=64, images=500).name == spec


def test_an_index_needs_images():
    with pytest.raises(InputError, match=r"There are no images."):
        Index.check("Flat", dim=64, images=0)


def test_too_few_points_for_a_codebook():
    with pytest.raises(
        InputError, match=r"trains PQ codes of 8 bits on 255 images. They need at least 256 images."
    ):
        Index.check("IVF4,PQ8", dim=64, images=255)


def test_the_gpu_has_to_be_there(monkeypatch):
    monkeypatch.setattr("imgbench.index.gpu.gpu_count", lambda: 0)
    with pytest.raises(
        InputError, match=r"'gpu:Flat' asks for a GPU. FAISS sees none on this machine. Use 'Flat'."
    ):
        Index.check("gpu:Flat", dim=64, images=500)


@pytest.mark.parametrize(
    "spec", ["gpu:HNSW32", "gpu:RaBitQ", "gpu:PQ16x4fs", "gpu:SQ8,RFlat", "gpu:IVF16_HNSW8,Flat"]
)
def test_families_without_a_gpu_version_are_refused(spec, monkeypatch):
    monkeypatch.setattr("imgbench.index.gpu.gpu_count", lambda: 1)
    with pytest.raises(InputError, match=r"has no GPU version in FAISS. Flat, IVF with Flat, SQ or 8-bit PQ"):
        Index.check(spec, dim=64, images=500)


def test_the_gpu_takes_some_code_sizes_only(monkeypatch):
    monkeypatch.setattr("imgbench.index.gpu.gpu_count", lambda: 1)
    with pytest.raises(InputError, match=r"'gpu:IVF16,PQ30' has 30 codes of 8 bits."):
        Index.check("gpu:IVF16,PQ30", dim=60, images=500)
    for spec in (
        "gpu:Flat",
        "gpu:IVF16,Flat",
        "gpu:IVF16,SQ8",
        "gpu:PCA32,IVF16,PQ16",
        "gpu:OPQ16,IVF16,PQ16",
    ):
        Index.check(spec, dim=64, images=500)
