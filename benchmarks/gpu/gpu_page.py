"""What is printed about encoding on a GPU: rates beside what was wanted of them."""

from __future__ import annotations

from typing import Any

ALONE_WANTED = {"ViT-L-14": 0.9, "ViT-H-14": 0.9}  # of the network alone; ViT-B-32 outruns the decoding
LOOPS_WANTED = 3.0  # times the faster loop
OURS, ALONE = "imgbench", "the network alone"
HEADINGS = (
    "model", "imgbench, images/s", "network alone", "share of it", "faster loop", "times as fast", "batch",
    "stalled", "least cosine: images", "texts", "targets",
)  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The table in Markdown, and a line on the machine before and on nDCG after it."""
    environment, ndcg, kind = found["environment"], found["ndcg"], found["precision"]
    where = environment["gpu"] if found["device"].startswith("cuda") else "no GPU used: a trial of the script"
    packages = environment["packages"]
    difference = ndcg["difference"]
    return "\n".join([
        (f"Encoding in {kind} on {found['device']} ({where}), {environment['cores']} cores of "
        f"{environment['cpu']}, torch {packages.get('torch')}, {found['date'][:10]}. {found['images']}. "
        f"Medians of {found['rounds']} rounds."),
        "",
        *_table([cells(each, on_gpu=found["device"].startswith("cuda")) for each in found["models"]]),
        "",
        (f"scenes:{ndcg['images']}, exact search: nDCG@10 is {ndcg['fp32']:.4f} in fp32; {kind} "
        f"changes it by {difference['mean']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f}, "
        "paired)."),
    ])  # fmt: skip


def cells(model: dict[str, Any], *, on_gpu: bool) -> tuple[str, ...]:
    """The line of a model; targets are those of a GPU.

    >>> rates = {"imgbench": 950.0, "the network alone": 1000.0, "a loop": 100.0, "a DataLoader": 400.0}
    >>> model = {"model": "ViT-L-14", "images_per_second": rates, "batch_size": 512, "stall_share": 0.031,
    ...     "image_cosines": [0.99991, 0.99998], "text_cosines": [0.9999, 0.9999]}
    >>> cells(model, on_gpu=True)[3:8]
    ('0.95', 'a DataLoader: 400', '2.4', '512', '3.1 %')
    >>> cells(model, on_gpu=True)[-1]
    '0.9 of the network: met; 3 times the loops: NOT MET'
    """
    rates = model["images_per_second"]
    name, loop = max(
        ((side, rate) for side, rate in rates.items() if side not in {OURS, ALONE}), key=lambda each: each[1]
    )
    share, times = rates[OURS] / rates[ALONE], rates[OURS] / loop
    return (
        model["model"], f"{rates[OURS]:,.0f}", f"{rates[ALONE]:,.0f}", f"{share:.2f}", f"{name}: {loop:,.0f}",
        f"{times:.1f}", str(model["batch_size"]), f"{100 * model['stall_share']:.1f} %",
        f"{model['image_cosines'][0]:.5f}", f"{model['text_cosines'][0]:.5f}",
        _targets(model["model"], share, times) if on_gpu else "for a GPU",
    )  # fmt: skip


def _targets(name: str, share: float, times: float) -> str:
    """What was wanted of the model, each with its verdict on figures that were not rounded."""
    wanted = [(f"{LOOPS_WANTED:g} times the loops", times >= LOOPS_WANTED)]
    if name in ALONE_WANTED:
        wanted.insert(0, (f"{ALONE_WANTED[name]:g} of the network", share >= ALONE_WANTED[name]))
    return "; ".join(f"{what}: {'met' if met else 'NOT MET'}" for what, met in wanted)


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows]
