"""A small page that needs nothing but itself: no script, no font, no request."""

from __future__ import annotations

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


def page(results: Results, svg: str) -> str:
    """The report as one HTML file; every text from outside is escaped."""
    told = content(results)
    figure = f'<figure aria-label="quality against throughput">{plots.inline(svg)}</figure>' if svg else ""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{in_html(told.title)}</title>",
            f"<style>{_STYLE}{STYLE}</style>\n</head>",
            f'<body class="imgbench">\n<main>\n{body(told, figure)}',
            f"{_again(results)}\n</main>\n</body>\n</html>\n",
        ]
    )


def _again(results: Results) -> str:
    command = results["environment"].get("command")
    if not command:
        return ""
    return f"<h2>How to run it again</h2>\n<pre>{in_html(command)}</pre>"
