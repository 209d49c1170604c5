"""Names from outside stay text: in the terminal, in Markdown, in HTML, in the picture and on the page."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from fake_report import POINTS, fake

from imgbench.report import Report, plots
from imgbench.report.plain import in_html, in_markdown, shown

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & $x^2$ _hidden"
ANSI = "\x1b[31mred\x1b]8;;http://evil\x07 | pipe `code` [a](http://evil) [red]bold[/red] :smile:\r\n# title"
RTL = "\u202eexe.gpj \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200b\x9b31m 日本"
LONE = "caf\udce9"  # from a file name that is not UTF-8; parquet cannot hold it, JSON can


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def report() -> Report:
    made = fake((SCRIPT, ANSI, RTL), queries=30, corpus=SCRIPT + ANSI + RTL + LONE, points=POINTS[:2])
    results = dict(made.results)
    results["corpus"] |= {"notices": [SCRIPT, ANSI, RTL], "cluster_rule": SCRIPT}
    results["environment"] |= {
        "command": SCRIPT + ANSI,
        "cpu": SCRIPT,
        "git": "<b>bold</b>",
        "threads": {ANSI: 1},
    }
    return Report(results, made.per_query, made.runs, made.qrels)


@pytest.fixture(scope="module")
def out(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("hostile") / "out")


def test_the_terminal_gets_no_control_character(report):
    for width in (60, 120, 300):
        text = report.table("text", width=width)
        assert not re.search(
            r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
        )
    text = report.table("text", width=300)
    assert r"\x1b[31mred\x1b]8;;http://evil\x07" in text
    assert "[red]bold[/red] :smile:" in text
    assert r"caf\udce9" in text
    assert r"\u202eexe.gpj שלום مرحبا \u200b\x9b31m 日本" in text


def test_markdown_has_no_html_no_link_and_no_broken_row(report):
    text = report.table("markdown")
    assert "<" not in text
    assert "\\[a](http\\:" in text
    assert not re.search(r"(?<!\\)\[(?![-+.\d, ]+\])", text)
    rows = [re.sub(r"\\\|", "", line) for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5, 6, 16}
    assert "\x1b" not in text
    assert "\n# title" not in text


@pytest.mark.parametrize("form", ["notebook", "page"])
def test_html_has_only_the_tags_that_we_wrote(report, out, form):
    text = report._repr_html_() if form == "notebook" else (out / "index.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not {"script", "img", "b", "iframe", "a", "link"} & set(tags.seen)
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "src"]
    assert SCRIPT in tags.text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_page_asks_for_nothing_from_outside(out):
    text = (out / "index.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    links = [
        value for name, value in tags.attributes if name in ("href", "src", "xlink:href", "srcset", "action")
    ]
    assert all(value.startswith("#") for value in links)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_the_picture_shows_names_as_text(report, out):
    svg = (out / "pareto.svg").read_text(encoding="utf-8")
    assert "<script" not in svg
    assert "<img" not in svg
    assert html.escape("<script>alert(1)</script>", quote=False) in svg
    texts = {text.get_text() for text in report.pareto().legends[0].get_texts()}
    assert any(text.startswith("<script>") for text in texts)
    assert any(text.startswith(r"\u202eexe.gpj") for text in texts)
    assert plots.svg(report.pareto()) == svg


def test_dollars_and_a_leading_underscore_are_no_mathematics_and_no_secret():
    figure = fake(("$x^2$", "_hidden"), queries=30, points=POINTS[:2]).pareto()
    assert {"$x^2$", "_hidden"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    svg = plots.svg(figure)
    assert ">$x^2$<" in svg
    assert ">_hidden<" in svg


def test_a_hostile_report_comes_back_as_it_was(report, out):
    again = Report.load(out)
    assert again.results == report.results
    assert again.verify() == []


@pytest.mark.parametrize(
    "sign", ["\x1b", "\x00", "\u202e", "\u2066", "\u200b", "\ufeff", "\n", "\u2028", "\ud800", "\x9b"]
)
def test_what_cannot_be_seen_is_shown_as_its_code(sign):
    for safe in (shown, in_html, in_markdown):
        assert sign not in safe(f"a{sign}b")
        assert "a" + "\\" in safe(f"a{sign}b")


def test_what_can_be_seen_stays():
    assert shown("été שלום 日本 👩‍🚀 ÷") == "été שלום 日本 👩‍🚀 ÷"
    assert in_markdown("open_clip:ViT-B-32/openai IVF256,Flat?nprobe=4 [-.0040,+.0010]") == (
        "open_clip:ViT-B-32/openai IVF256,Flat?nprobe=4 [-.0040,+.0010]"
    )
