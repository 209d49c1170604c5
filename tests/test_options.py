"""Options from a TOML file: the types of the command line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgbench import options
from imgbench.errors import InputError

KINDS = {
    "corpus": str, "index": list[str], "k": int, "margin": str, "out": Path, "trust_remote_code": bool,
}  # fmt: skip


def read(folder: Path, text: str) -> dict[str, object]:
    path = folder / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return options.read(path, KINDS)


def test_values_have_the_types_of_the_command_line(tmp_path: Path) -> None:
    text = (
        'corpus = "scenes"\nindex = ["Flat", "SQ8"]\nk = 5\nmargin = 1\nout = "a"\ntrust_remote_code = true'
    )
    assert read(tmp_path, text) == {
        "corpus": "scenes", "index": ["Flat", "SQ8"], "k": 5, "margin": 1, "out": Path("a"),
        "trust_remote_code": True,
    }  # fmt: skip


def test_names_may_be_written_as_on_the_command_line(tmp_path: Path) -> None:
    assert read(tmp_path, "trust-remote-code = true") == {"trust_remote_code": True}


def test_one_text_is_a_list_of_one(tmp_path: Path) -> None:
    assert read(tmp_path, 'index = "Flat"') == {"index": ["Flat"]}


def test_a_margin_for_each_measure(tmp_path: Path) -> None:
    assert read(tmp_path, 'margin = {"nDCG@10" = 0.01, "R@10" = "1%"}') == {
        "margin": {"nDCG@10": 0.01, "R@10": "1%"}
    }
    assert read(tmp_path, 'margin = "2%"') == {"margin": "2%"}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('k = "ten"', "k in bench.toml is 'ten'. Wanted a whole number. See 'imgbench run --help'."),
        ("k = 2.5", "k in bench.toml is 2.5. Wanted a whole number."),
        ("k = true", "k in bench.toml is True. Wanted a whole number."),
        ("index = 3", "index in bench.toml is [3]. Wanted a text or a list of texts."),
        ('index = ["Flat", 3]', "index in bench.toml is ['Flat', 3]."),
        (
            "margin = [1]",
            'margin in bench.toml is [1]. Wanted a number, "1%", or a table of them by measure.',
        ),
        ('margin = {"R@10" = true}', "margin in bench.toml is {'R@10': True}."),
        ("margin = true", "margin in bench.toml is True."),
        ("corpus = 5", "corpus in bench.toml is 5. Wanted a text in quotes."),
        ("out = 5", "out in bench.toml is 5. Wanted a path in quotes."),
        # Any text would count as true.
        ('trust_remote_code = "no"', "trust_remote_code in bench.toml is 'no'. Wanted true or false."),
        ("kk = 1", "'kk' is not an option of imgbench run."),
        ("k = = 1", "bench.toml cannot be read: Invalid value"),
    ],
)
def test_wrong_values(text: str, sentences: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text(text)
    with pytest.raises(InputError) as error:
        options.read(Path("bench.toml"), KINDS)
    assert sentences in str(error.value)


@pytest.mark.parametrize("content", [None, b'corpus = "caf\xe9"'])
def test_a_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "bench.toml").write_bytes(content)
    with pytest.raises(InputError, match=r"bench.toml cannot be read: .*\. A TOML file was expected\."):
        options.read(tmp_path / "bench.toml", KINDS)
