"""The report as a text: Markdown, terminal, and HTML for notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from imgbench.errors import unknown
from imgbench.report import grid
from imgbench.report.content import Content, content
from imgbench.report.plain import in_html, in_markdown, shown
from imgbench.report.results import Results

WIDTH = 120


def table(results: Results, form: str = "text", *, width: int = WIDTH, details: bool = False) -> str:
    """The headline, the tables and the notes in one of the forms 'text', 'markdown' or 'html'.

    HTML always holds the details, folded away; the other forms if they are asked for.
    """
    if form not in FORMS:
        raise unknown("a form of the table", form, FORMS)
    told = content(results)
    return FORMS[form](told if details or form == "html" else replace(told, details=()), width)


def _markdown(told: Content, width: int) -> str:
    del width
    parts = [f"### {in_markdown(told.title)}"]
    parts += [in_markdown(sentence) for sentence in told.headline]
    parts += [grid.markdown(each) for each in (*told.grids, *told.details)]
    parts.append("\n".join(f"- {in_markdown(note)}" for note in told.notes))
    return "\n\n".join(parts) + "\n"


def _text(told: Content, width: int) -> str:
    # Names hold hyphens (ir-measures), which are no place to break them.
    wrapped = partial(textwrap.fill, width=width, break_on_hyphens=False)
    parts = [shown(told.title), *(wrapped(shown(each)) for each in told.headline)]
    parts += [grid.terminal(each, width).rstrip("\n") for each in (*told.grids, *told.details)]
    parts.append("\n".join(wrapped(shown(note), subsequent_indent="  ") for note in told.notes))
    return "\n\n".join(parts) + "\n"


def _html(told: Content, width: int) -> str:
    del width
    return f'<div class="imgbench">\n<style>{STYLE}</style>\n{body(told)}\n</div>\n'


def body(told: Content, figure: str = "") -> str:
    """Headline, figure (an SVG of our own making), tables and notes as HTML."""
    lines = [f"<h1>{in_html(told.title)}</h1>"]
    lines += [f'<p class="headline">{in_html(sentence)}</p>' for sentence in told.headline]
    lines += [figure] if figure else []
    lines += [f'<div class="wide">{grid.html(each)}</div>' for each in told.grids]
    if told.details:
        tables = "\n".join(f'<div class="wide">{grid.html(each)}</div>' for each in told.details)
        summary = (
            "<summary>Details: strata, builds, steps, lost overlap, corpus sizes, times, loads</summary>"
        )
        lines.append(f"<details>{summary}\n{tables}\n</details>")
    lines.append("<ul>" + "".join(f"<li>{in_html(note)}</li>" for note in told.notes) + "</ul>")
    return "\n".join(lines)


# Every rule is below .imgbench, and colours come from the page around it: a notebook keeps its own look.
STYLE = """
.imgbench h1 { font-size: 1.3em; margin: 0 0 .5em; }
.imgbench .headline { font-size: 1.1em; margin: .3em 0; max-width: 60em; }
.imgbench .wide { overflow-x: auto; margin: 1.2em 0; }
.imgbench table { border-collapse: collapse; font-size: .86em; font-variant-numeric: tabular-nums; }
.imgbench caption { text-align: left; font-weight: 600; padding: .3em 0; }
.imgbench th, .imgbench td { padding: .25em .4em; text-align: left; white-space: nowrap; }
.imgbench td:not(.number) { white-space: normal; }
.imgbench .number { text-align: right; }
.imgbench thead th { white-space: normal; border-bottom: 2px solid #8888; vertical-align: bottom; }
.imgbench tbody th { font-weight: 500; unicode-bidi: isolate; }
.imgbench tbody tr { border-bottom: 1px solid #8883; }
.imgbench .strong { background: #8881; }
.imgbench ul { font-size: .85em; opacity: .85; padding-left: 1.2em; max-width: 75em; }
"""

FORMS: dict[str, Callable[[Content, int], str]] = {"markdown": _markdown, "text": _text, "html": _html}
