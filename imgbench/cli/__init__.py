"""The command line: `imgbench run`, `tune`, `verify`, `report`, `env`, `encoders`."""

from __future__ import annotations

import typer

from imgbench.cli import program
from imgbench.cli.about import encoders, env
from imgbench.cli.program import FAILED, INTERRUPTED, WRONG
from imgbench.cli.run import run
from imgbench.cli.saved import report_again, verify
from imgbench.cli.tune import tune

__all__ = ["FAILED", "INTERRUPTED", "WRONG", "app", "main"]

app = typer.Typer(
    name="imgbench",
    help="Does approximate indexing degrade the nDCG of my image search, and what do I gain for it?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(run)
app.command()(tune)
app.command()(verify)
app.command("report")(report_again)
app.command()(env)
app.command()(encoders)


def main() -> None:
    """The entry point of `imgbench`."""
    program.run(app)
