"""Every notebook runs on the outputs of a run, and its stored outputs are of its present code."""

import copy
from pathlib import Path

import nbformat
import pytest
from support.kedro_project import PROJECT, Run
from support.notebooks import (
    DIGEST,
    code_cells,
    code_digest,
    execute,
    output_kinds,
    texts_without_numbers,
)

NOTEBOOKS = sorted(path.name for path in (PROJECT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 1_500_000


def test_notebooks_exist() -> None:
    assert NOTEBOOKS


def test_notebooks_are_small() -> None:
    sizes = {name: (PROJECT / "notebooks" / name).stat().st_size for name in NOTEBOOKS}

    assert sum(sizes.values()) <= MAX_BYTES, sizes


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_and_has_current_outputs(name: str, whole_run: Run) -> None:
    place = whole_run.place
    folder = place.clone / "notebooks"
    stored = nbformat.read(folder / name, as_version=4)
    nbformat.validate(stored)
    roots = {
        "FB_RAW": str(place.clone / place.raw),
        "FB_LAKE": str(place.clone / place.lake),
    }
    executed = copy.deepcopy(stored)

    execute(executed, folder, place.environment | roots)

    pairs = list(zip(code_cells(stored), code_cells(executed), strict=True))
    assert pairs
    remedy = "run `make run notebooks`"
    # Numbers and titles differ: the outputs are stored for a larger sample.
    for number, (old, new) in enumerate(pairs, start=1):
        assert old.execution_count == new.execution_count == number, remedy
        assert output_kinds(old) == output_kinds(new), f"{old.source}\n{remedy}"
        for stored_text, text in zip(
            texts_without_numbers(old), texts_without_numbers(new), strict=True
        ):
            assert None in (stored_text, text) or stored_text == text, f"{old.source}\n{remedy}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_of_present_code(name: str) -> None:
    notebook = nbformat.read(PROJECT / "notebooks" / name, as_version=4)

    assert notebook.metadata[DIGEST] == code_digest(notebook), "run `make run notebooks`"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_name_no_local_path(name: str) -> None:
    content = (PROJECT / "notebooks" / name).read_text("utf-8")

    assert [
        path for path in ("/tmp/", "/home/", "/root/", str(Path.cwd())) if path in content
    ] == []
