"""Commands that tell what is here: `env`, `encoders`."""

from __future__ import annotations

import json
import sys

from imgbench.cli.program import show


def env() -> None:
    """What results depend on: machine, packages, FAISS, as JSON."""
    from imgbench import environment
    from imgbench.index import compile_options, gpu_count

    found = environment.describe() | {"faiss_compile_options": compile_options(), "faiss_gpus": gpu_count()}
    show(json.dumps(found, indent=1))


def encoders() -> None:
    """The encoders that have short names, with size, licence and source."""
    from rich.console import Console
    from rich.table import Table

    from imgbench.encoders import presets

    table = Table("name", "specification", "dim", "px", "licence", "notes", box=None, header_style="bold")
    for preset in presets.table():
        table.add_row(preset.name, preset.spec, str(preset.dim), str(preset.px), preset.licence, preset.notes)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
