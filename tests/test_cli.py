"""The command line: what it prints, what it leaves, and how it fails."""

from __future__ import annotations

import errno
import io
import json
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from imgbench import cli
from imgbench.errors import InputError


@dataclass
class Finished:
    """What a command left: exit code, standard output, standard error."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Finished:
    """The command, in this process: its own start would cost seconds each time."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["imgbench", *map(str, arguments)]
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", argv):
        try:
            cli.main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def done(folder: Path) -> Finished:
    return run(
        "run", "--corpus", "scenes:200?queries=60", "--index", "IVF4,Flat?nprobe=1,4",
        "--measure", "nDCG@10", "--measure", "Success@1", "--latency-calls", "20",
        "--out", folder / "out", "--cache", folder / "cache",
    )  # fmt: skip


def test_run_prints_the_table_and_saves_everything(done: Finished, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert "IVF4,Flat?nprobe=4" in done.stdout
    assert "scenes:200" in done.stdout
    assert {path.name for path in (folder / "out").iterdir()} == {
        "results.json", "per_query.parquet", "qrels.trec", "index.html", "pareto.svg", "runs",
    }  # fmt: skip
    results = json.loads((folder / "out" / "results.json").read_text())
    assert list(results["margin"]) == ["nDCG@10", "Success@1"]
    assert results["points"][1]["latency_ms"]["threads"] == 1


def test_a_profile_follows_the_table(folder: Path) -> None:
    found = run(
        "run", "--corpus", "scenes:200?queries=60", "--index", "IVF4,Flat?nprobe=1", "--latency-calls", "20",
        "--out", folder / "profiled", "--cache", folder / "cache", "--profile",
    )  # fmt: skip
    table, _, told = found.stdout.partition("Where the time went")
    assert "IVF4,Flat?nprobe=1" in table
    assert "outside of these." in told
    named = [line.split("  ")[0] for line in told.splitlines()]
    wanted = ["import libraries", "embed images", "search IVF4,Flat?nprobe=1", "latency", "save", "· draw"]
    assert [name for name in named if name in wanted] == wanted
    saved = json.loads((folder / "profiled" / "results.json").read_text())["profile"]
    assert saved["seconds"] >= saved["faiss_seconds"] > 0


def test_progress_is_silent_where_nobody_watches(done: Finished) -> None:
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("Saved in ")


def test_verify_says_that_the_figures_hold(done: Finished, folder: Path) -> None:
    found = run("verify", folder / "out")
    assert (found.returncode, found.stderr) == (0, "")
    assert "3 points scored again give the same scores, differences, overlaps and verdicts" in found.stdout


def test_verify_fails_on_a_changed_run(done: Finished, folder: Path, tmp_path: Path) -> None:
    import gzip
    import shutil

    shutil.copytree(folder / "out", tmp_path / "out")
    path = tmp_path / "out" / "runs" / "1.trec.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    path.write_bytes(gzip.compress("".join(lines[30:]).encode()))
    found = run("verify", tmp_path / "out")
    assert found.returncode == cli.FAILED
    assert "nDCG@10" in found.stderr


def test_report_writes_the_pages_again(done: Finished, folder: Path) -> None:
    page = folder / "out" / "index.html"
    before = page.read_bytes()
    page.unlink()
    found = run("report", folder / "out")
    assert found.returncode == 0
    assert page.read_bytes() == before
    assert "IVF4,Flat?nprobe=4" in found.stdout


def test_a_second_run_encodes_nothing(done: Finished, folder: Path) -> None:
    stores = sorted((folder / "cache").rglob("*.npy"))
    stamps = [path.stat().st_mtime_ns for path in stores]
    again = run(
        "run", "--corpus", "scenes:200?queries=60", "--index", "SQ8", "--latency-calls", "20",
        "--out", folder / "again", "--cache", folder / "cache",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert stores
    assert sorted((folder / "cache").rglob("*.npy")) == stores
    assert [path.stat().st_mtime_ns for path in stores] == stamps


def test_options_from_a_file_and_the_command_line_goes_first(folder: Path, done: object) -> None:
    file = folder / "bench.toml"
    file.write_text(
        'corpus = "scenes:200?queries=60"\nencoder = "scenes"\nindex = ["SQ8", "SQ4"]\nmeasure = "RR"\n'
        f'latency_calls = 20\nmargin = 0.5\ncache = "{folder / "cache"}"\nout = "{folder / "wrong"}"\n'
    )
    found = run("run", file, "--out", folder / "right", "--index", "SQ6")
    assert found.returncode == 0, found.stderr
    assert not (folder / "wrong").exists()
    results = json.loads((folder / "right" / "results.json").read_text())
    assert [point["key"] for point in results["points"]] == ["Flat", "SQ6"]
    assert results["margin"] == {"RR": 0.5}


@pytest.fixture
def vectors(tmp_path: Path) -> dict[str, Path]:
    dice = np.random.default_rng(0)
    images = dice.normal(size=(60, 16)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    paths = {name: tmp_path / f"{name}.npy" for name in ("images", "queries")}
    np.save(paths["images"], images)
    np.save(paths["queries"], images[:20])
    paths["qrels"] = tmp_path / "qrels.csv"
    rows = "".join(f"{row},{row},1\n" for row in range(20))
    paths["qrels"].write_text("query_id,document_id,relevance\n" + rows)
    return paths


def test_vectors_that_exist_already(vectors: dict[str, Path], tmp_path: Path) -> None:
    given = [word for name, path in vectors.items() for word in (f"--{name}", path)]
    found = run("run", *given, "--index", "SQ8", "--latency-calls", "20", "--out", tmp_path / "out")
    assert found.returncode == 0, found.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["points"][0]["quality"]["nDCG@10"]["mean"] == 1.0
    assert results["encoders"][0]["name"] == "images"


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["--corpus", "scene"], "'scene' is not a corpus, nor a folder that exists. Known: scenes. Did"),
        (["--encoder", "toi:x"], "'toi' is not an encoder family. Known: open_clip, scenes, timm,"),
        (["--corpus", "scenes:100", "--index", "IVF4,Flt"], "IVF4,Flt"),
        (["--corpus", "scenes:100", "--measure", "nDGC@10"], "Did you mean 'nDCG@10'?"),
        (["--images", "a.npy"], "--images came alone. Vectors need --images, --queries and --qrels"),
        (["--images", "a.npy", "--queries", "b.npy", "--qrels", "q.csv", "--batch-size", "8"],
         "--qrels and --batch-size came together."),
        (["nowhere.toml"], "nowhere.toml cannot be read"),
        (["--threads", "100000"], "threads is 100000. This process may use "),
        (["--k", "ten"], ". Usage: imgbench run [OPTIONS] [file]. See 'imgbench run --help'."),
        (["--indx", "Flat"], "No such option: --indx"),
    ],
)  # fmt: skip
def test_wrong_input_is_three_sentences_and_nothing_is_left(
    arguments: list[str], sentences: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("run", *arguments, "--out", "out", "--cache", "cache")
    assert found.returncode == cli.WRONG
    assert found.stdout == ""
    assert found.stderr.startswith("imgbench: ")
    assert sentences in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text('corpsu = "scenes"\n')
    found = run("run", tmp_path / "bench.toml")
    assert found.returncode == cli.WRONG
    assert "'corpsu' is not an option of imgbench run." in found.stderr
    assert "Did you mean 'corpus'?" in found.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    found = run("runn")
    assert found.returncode == cli.WRONG
    assert found.stderr.startswith("imgbench: No such command 'runn'")
    assert found.stderr.count("\n") == 1


def test_nothing_shows_the_help() -> None:
    found = run()
    assert found.returncode == cli.WRONG
    assert "Commands" in found.stdout + found.stderr
    assert "imgbench: ." not in found.stderr


def test_help_is_no_error() -> None:
    found = run("run", "--help")
    assert found.returncode == 0
    assert "--corpus" in found.stdout


@pytest.mark.parametrize(
    ("out", "sentences"),
    [
        ("file", "'file' is a file."),
        ("file/below", "No report can be saved in 'file/below' (Not a directory)."),
    ],
)
def test_a_place_without_a_folder_is_refused_before_the_work(
    out: str, sentences: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    found = run("run", "--corpus", "scenes:100", "--out", out, "--cache", "cache")
    assert found.returncode == cli.WRONG
    assert sentences in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_three_sentences_and_the_table_is_printed(
    vectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imgbench.report.files.write_frame", full)
    given = [part for name, path in vectors.items() for part in (f"--{name}", path)]
    found = run("run", *given, "--index", "Flat", "--latency-calls", "10", "--out", tmp_path / "out")
    assert found.returncode == cli.WRONG
    assert "Exact search only: nDCG@10 is" in found.stdout
    assert "(No space left on device). A folder to write to is needed." in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_cache_without_room_is_three_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "shard-00000.npy")

    monkeypatch.setattr("imgbench.store._write_shard", full)
    found = run("run", "--corpus", "scenes:100", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert found.returncode == cli.WRONG
    assert found.stderr == (
        "imgbench: shard-00000.npy: No space left on device. Files must be readable and folders writable. "
        "Check the path, its permissions and the space left.\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_warning_is_a_sentence_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: object) -> None:
        warnings.simplefilter("always")
        warnings.warn("a shard is damaged", stacklevel=1)
        raise InputError("One.", "Two.", "Three.")

    monkeypatch.setattr(sys.modules["imgbench.cli.run"], "_benchmark", damaged)
    assert run("run").stderr == "imgbench: a shard is damaged\nimgbench: One. Two. Three.\n"


def test_verify_of_a_folder_without_results(tmp_path: Path) -> None:
    found = run("verify", tmp_path)
    assert found.returncode == cli.WRONG
    assert "There is no results.json in" in found.stderr


def test_an_interrupted_run_keeps_what_is_done(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "imgbench.cli", "run", "--corpus", "scenes:60000?queries=60", "--index", "SQ8",
        "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 100
        # The queries' shard is the first thing kept.
        while not list((tmp_path / "cache").rglob("*.npy")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache").rglob("*.npy"))


def test_an_error_in_a_process_of_its_own_has_no_traceback() -> None:
    command = [sys.executable, "-m", "imgbench.cli", "run", "--corpus", "scenes:1"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (cli.WRONG, "")
    assert found.stderr.splitlines()[-1].startswith("imgbench: scenes was asked for 1 images.")
    assert "Traceback" not in found.stderr


def test_env_names_what_results_depend_on() -> None:
    found = json.loads(run("env").stdout)
    assert {"python", "packages", "cpu", "cores", "gpu", "faiss_compile_options"} <= set(found)
    assert found["packages"]["faiss-gpu" if "faiss-gpu" in found["packages"] else "faiss-cpu"]


def test_encoders_lists_every_preset() -> None:
    from imgbench.encoders import presets

    printed = run("encoders").stdout
    assert all(preset.name in printed for preset in presets.table())


def test_tune_finds_a_point_and_proves_it(tmp_path: Path, folder: Path) -> None:
    found = run(
        "tune", "--corpus", "scenes:400?queries=800", "--index", "IVF8,Flat?nprobe=1,2,4,8", "--index", "SQ8",
        "--goal", "distances", "--margin", "5%", "--out", tmp_path / "tune.json", "--cache", folder / "cache",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stderr == f"Saved in {tmp_path / 'tune.json'}.\n"
    saved = json.loads((tmp_path / "tune.json").read_text())
    assert found.stdout.startswith(f"{saved['best']['key']}: ")
    assert saved["margin_asked"] == "5%"
    assert saved["comparison"]["verdict"] == "holds"
    assert "It loses " in found.stdout
    assert "within the margin of 5% (0.0" in found.stdout
    assert "of the distance computations of the full grid" in found.stdout


def test_tune_from_a_file_and_with_wrong_options(tmp_path: Path) -> None:
    file = tmp_path / "tune.toml"
    file.write_text('goal = "speed"\ncorpus = "scenes:200"\n')
    found = run("tune", file)
    assert found.returncode == cli.WRONG
    assert found.stderr.startswith("imgbench: 'speed' is not a goal of tuning. Known: ")
    file.write_text('margn = "1%"')
    said = run("tune", file).stderr
    assert said.startswith("imgbench: 'margn' is not an option of imgbench tune. Known: batch_size,")
    assert said.endswith("Did you mean 'margin'?\n")
    found = run(
        "tune", "--corpus", "scenes:400?queries=80", "--margin", "0.001", "--index", "SQ8?", "--quiet"
    )
    assert found.returncode == cli.WRONG


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--encoder", "a", "--encoder", "b"], "--encoder came twice. Tuning is about one. Pass one."),
        (["--measure", "R@10"] * 3, "--measure came 3 times. Tuning is about one. Pass one."),
        (["--out", "."], "'.' is a folder. The answer is one JSON file. Name a file in it."),
        (
            ["--out", "no/t.json"],
            "'no/t.json' cannot be written (No such file or directory). "  # noqa: ISC004
            "Wanted a file in a folder that exists and is writable. "
            "Check the path, its permissions and the space left.",
        ),
        (["tune.toml"], "--encoder came twice. Tuning is about one. Pass one."),
    ],
)
def test_tune_refuses_before_anything_is_loaded(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tune.toml").write_text('encoder = ["scenes", "metaclip-1.2"]')
    loaded: list[object] = []
    monkeypatch.setattr("imgbench.cli.inputs.subject", loaded.append)
    found = run("tune", *given)
    assert (found.returncode, found.stderr) == (cli.WRONG, f"imgbench: {said}\n")
    assert loaded == []
    assert [path.name for path in tmp_path.iterdir()] == ["tune.toml"]


def test_tune_interrupted_or_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("imgbench.cli.inputs.subject", interrupted)
    found = run("tune")
    assert found.returncode == cli.INTERRUPTED
    assert found.stderr == "imgbench: interrupted. Embeddings are kept; the tuning starts again.\n"

    class Full:
        def save(self, path: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", f".{path.name}.1.part")

    monkeypatch.setattr(sys.modules["imgbench.cli.tune"], "_tuned", lambda _: Full())
    found = run("tune", "--out", tmp_path / "t.json")
    assert found.returncode == cli.WRONG
    assert found.stderr.startswith(f"imgbench: '{tmp_path / 't.json'}' cannot be written (No space left on")
