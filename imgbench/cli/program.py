"""What all commands share: exit codes, and how they speak, also when something is wrong."""

from __future__ import annotations

import shutil
import sys
import warnings
from typing import Any

import typer

from imgbench.errors import InputError

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def width() -> int:
    """The columns of the terminal, at least 80."""
    return max(80, shutil.get_terminal_size((120, 24)).columns)


def say(sentence: str) -> None:
    """A sentence on standard error."""
    print(sentence, file=sys.stderr)  # noqa: T201


def show(text: str) -> None:
    """A result on standard output."""
    print(text, flush=True)  # noqa: T201


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Of click, or of the copy that newer versions of typer bring along: its name there is private."""


def _usage(error: Any) -> str:  # noqa: ANN401
    context = error.ctx
    name = context.command_path if context else "imgbench"
    came = error.format_message().strip().rstrip(".")
    usage = " ".join(context.get_usage().split()) if context else "Usage: imgbench COMMAND"
    return f"{came}. {usage}. See '{name} --help'."


def run(app: typer.Typer) -> None:
    """Run a command: errors of input and usage are three sentences on standard error, never a traceback."""
    with warnings.catch_warnings():
        # A user reads what happened, not the line of code that says so.
        warnings.showwarning = lambda message, *_: say(f"imgbench: {message}")
        try:
            code = app(prog_name="imgbench", standalone_mode=False)
        except InputError as error:
            said = str(error)
        except _UsageError as error:
            if not str(error):  # no command came, and the help was shown
                sys.exit(WRONG)
            said = _usage(error)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            said = (
                f"{what}{error.strerror or error}. Files must be readable and folders writable. "
                "Check the path, its permissions and the space left."
            )
        else:
            sys.exit(code or 0)
    say(f"imgbench: {said}")
    sys.exit(WRONG)
