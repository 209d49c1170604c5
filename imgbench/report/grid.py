"""A table of texts, and the three forms in which it can be read: Markdown, terminal, HTML."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgbench.report.plain import in_html, in_markdown, shown

_NARROWEST_NAME = 16
_WIDEST_HEADING = 24


@dataclass(frozen=True)
class Column:
    """A heading in full, the same in few characters for a terminal, and whether the cells are numbers."""

    heading: str
    short: str = ""
    number: bool = True
    cost: bool = False  # belongs to the second table where a terminal is too narrow for one


@dataclass(frozen=True)
class Grid:
    """Rows of cells below columns. The cells hold text as it came: every form makes it safe by itself."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()  # rows to set apart: exact search

    def part(self, *, cost: bool) -> Grid:
        """The first column with either the costs or all else."""
        kept = [at for at, column in enumerate(self.columns) if at == 0 or column.cost is cost]
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[at] for at in kept), rows=rows)


def markdown(grid: Grid) -> str:
    """A GitHub table with its title as a bold line."""
    lines = [f"**{in_markdown(grid.title)}**", ""] if grid.title else []
    lines.append(_line([in_markdown(column.heading) for column in grid.columns]))
    lines.append(_line(["---:" if column.number else "---" for column in grid.columns]))
    lines += [_line([in_markdown(cell) for cell in row]) for row in grid.rows]
    return "\n".join(lines)


def html(grid: Grid) -> str:
    """A table element, every cell escaped."""
    head = "".join(
        f'<th scope="col"{_class(column)}>{in_html(column.heading)}</th>' for column in grid.columns
    )
    body = "\n".join(_row(grid, at, row) for at, row in enumerate(grid.rows))
    caption = f"<caption>{in_html(grid.title)}</caption>" if grid.title else ""
    return f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def terminal(grid: Grid, width: int) -> str:
    """The table in at most `width` columns: in two parts, quality and costs, where one does not fit.

    Names wrap; a verdict or a number is never cut, so a very narrow terminal gets longer lines instead.
    """
    if _needs(grid, gap=1) <= width or not any(column.cost for column in grid.columns):
        return _printed(grid, width)
    quality, cost = grid.part(cost=False), replace(grid.part(cost=True), title="")
    return _printed(quality, width) + "\n" + _printed(cost, width)


def _printed(grid: Grid, width: int) -> str:
    gap = 2 if _needs(grid, gap=2, fold=False) <= width else 1
    console = _console(max(width, _needs(grid, gap=gap)))
    console.print(_table(grid, gap, console.width - _needs(grid, gap=gap, fold=False) + _widest(grid, 0)))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    title = [shown(grid.title)] if grid.title else []
    return "\n".join(title + lines) + "\n"


def _table(grid: Grid, gap: int, room: int) -> Table:
    # Text objects, never strings: rich would read [red] and :smile: in them as its own mark-up.
    # The box itself puts one space between two columns.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    for at, column in enumerate(grid.columns):
        table.add_column(
            Text("\n".join(_heading(column))),
            justify="right" if column.number else "left",
            no_wrap=at > 0,
            overflow="fold",
            vertical="bottom",
        )
    for name, *cells in grid.rows:
        table.add_row(_folded(shown(name), room), *(Text(shown(cell)) for cell in cells))
    return table


def _folded(name: str, room: int) -> Text:
    """The name of a point; where the room is too small, in lines that break where a reader would.

    >>> print(_folded("OPQ32_64,IVF4,PQ32x4fs?nprobe=1&k_factor=8", 18))
    OPQ32_64,IVF4,
      PQ32x4fs
      ?nprobe=1
      &k_factor=8
    """
    if Text(name).cell_len <= room:
        return Text(name)
    first, *rest = re.split(r"(?=[?&])|(?<=,)(?=.)", name)
    lines = [first]
    for piece in rest:
        if piece.startswith("?") or Text(lines[-1] + piece).cell_len > room:
            lines.append(f"  {piece}")
        else:
            lines[-1] += piece
    return Text("\n".join(lines))


def _needs(grid: Grid, *, gap: int, fold: bool = True) -> int:
    """Terminal columns without cutting anything: names may fold to 16."""
    widths = [_widest(grid, at) for at in range(len(grid.columns))]
    if fold:
        widths[0] = min(widths[0], _NARROWEST_NAME)
    return sum(widths) + gap * (len(widths) - 1)


def _widest(grid: Grid, at: int) -> int:
    cells = (shown(row[at]) for row in grid.rows)
    return max(Text(text).cell_len for text in [*_heading(grid.columns[at]), *cells])


def _heading(column: Column) -> list[str]:
    """The lines of a heading: the line breaks of the short form are ours, those of a name are not."""
    if column.short:
        return [shown(line) for line in column.short.split("\n")]
    return textwrap.wrap(shown(column.heading), _WIDEST_HEADING) or [""]


def _console(width: int) -> Console:
    # In a notebook rich would show the table at once instead of writing it to the file.
    return Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        emoji=False,
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _class(column: Column) -> str:
    return ' class="number"' if column.number else ""


def _row(grid: Grid, at: int, row: tuple[str, ...]) -> str:
    cells = "".join(
        f"<td{_class(column)}>{in_html(cell)}</td>"
        if place
        else f'<th scope="row"><bdi>{in_html(cell)}</bdi></th>'
        for place, (column, cell) in enumerate(zip(grid.columns, row, strict=True))
    )
    return f'<tr class="strong">{cells}</tr>' if at in grid.strong else f"<tr>{cells}</tr>"
