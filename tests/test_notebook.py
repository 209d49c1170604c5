"""The notebook of examples/ runs from top to bottom and shows its report.

After a change that its readers should see, write its outputs again:
jupyter execute --inplace examples/quickstart.ipynb
"""

from __future__ import annotations

import ast
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook, executed by a kernel that finds nothing of this user's: its cache is empty."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("cwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", mpl.get_configdir())  # its list of fonts takes long to make
        patch.delenv("IMGBENCH_CACHE")
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.delenv("MPLBACKEND")  # a kernel draws into the notebook
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        where = {"metadata": {"path": str(folder)}}
        client.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    assert list((home / ".cache" / "imgbench").iterdir())
    return notebook


def outputs(notebook, ending):
    """What the cell that ends with this line put out."""
    cell = next(cell for cell in notebook.cells if cell.source.endswith(ending))
    return cell.outputs


def test_no_cell_fails(executed):
    kinds = [output.output_type for cell in executed.cells for output in cell.get("outputs", [])]
    assert kinds
    assert "error" not in kinds


def test_the_report_is_displayed_once_in_every_form(executed):
    (shown,) = outputs(executed, "\nreport")
    keys = ["Flat", "IVF32,Flat?nprobe=1", "IVF32,Flat?nprobe=32", "HNSW32?efSearch=64", "SQ8"]
    for form in ("text/html", "text/markdown", "text/plain"):
        for key in keys:
            assert key in shown.data[form], f"{key} is missing in {form}"
    assert "<table>" in shown.data["text/html"]


def test_pictures_and_the_plot_are_displayed(executed):
    pictures = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5
    assert any("image/png" in output.data for output in outputs(executed, "report.pareto()"))


def scores(notebook):
    """The means that the notebook shows, by run and measure."""
    (shown,) = outputs(notebook, "judge.score(run)}")
    found = ast.literal_eval(shown.data["text/plain"])
    return {f"{run}/{name}": value for run, means in found.items() for name, value in means.items()}


def test_the_saved_outputs_are_those_of_this_code(executed):
    import nbformat

    saved = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.execution_count for cell in saved.cells if cell.cell_type == "code")
    assert len(scores(saved)) == 8
    assert scores(saved) == pytest.approx(scores(executed), abs=0.01)
