"""Every notebook runs on the outputs of a run."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from support.kedro_project import PROJECT, Run

NOTEBOOKS = sorted(path.name for path in (PROJECT / "notebooks").glob("*.ipynb"))


def test_notebooks_exist() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(
    name: str, whole_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = whole_run.place
    folder = place.clone / "notebooks"
    notebook = nbformat.read(folder / name, as_version=4)
    nbformat.validate(notebook)
    # Kernels and settings of whoever runs the tests play no part.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    roots = {
        "FB_RAW": str(place.clone / place.raw),
        "FB_LAKE": str(place.clone / place.lake),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLBACKEND": "agg",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }

    client.execute(env=place.environment | roots)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert cells
    assert all(cell.execution_count for cell in cells)
