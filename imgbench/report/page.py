"""A small page that needs nothing but itself: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Mapping

from imgbench.report import plots
from imgbench.report.content import content
from imgbench.report.plain import in_html
from imgbench.report.results import Results
from imgbench.report.table import STYLE, body

# Even if a text slipped through unescaped, the page could run no script and fetch nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1.2rem; max-width: 80rem;
       color: #1a1a1a; background: #fff; }
figure { margin: 1.5rem 0; max-width: 56rem; }
figure svg { width: 100%; height: auto; font-family: system-ui, sans-serif; }
pre { background: #8882; padding: .8rem 1rem; border-radius: .4rem; white-space: pre-wrap;
      overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #16181c; }
  /* Black lines become white and each colour keeps its hue. */
  figure svg { filter: invert(1) hue-rotate(180deg); }
}
"""


MAIN = "Quality against throughput"
"""The picture that stands above the table."""


def page(results: Results, svgs: Mapping[str, str]) -> str:
    """The report as one HTML file with pictures by title; every text from outside is escaped."""
    told = content(results)
    figures = {title: _figure(title, svg) for title, svg in svgs.items()}
    main = figures.pop(MAIN, "")
    more = [f"<h2>{in_html(title)}</h2>\n{figure}" for title, figure in figures.items()]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{in_html(told.title)}</title>",
            f"<style>{_STYLE}{STYLE}</style>\n</head>",
            f'<body class="imgbench">\n<main>\n{body(told, main)}',
            *more,
            f"{_again(results)}\n</main>\n</body>\n</html>\n",
        ]
    )


def _figure(title: str, svg: str) -> str:
    return f'<figure aria-label="{in_html(title.lower())}">{plots.inline(svg)}</figure>'


def _again(results: Results) -> str:
    command = results["environment"].get("command")
    if not command or command.startswith("imgbench."):  # a call in Python, whose arguments are not known
        return ""
    return f"<h2>How to run it again</h2>\n<pre>{in_html(command)}</pre>"
