"""Order in which a run's files reach the disk, as the kernel saw it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support.kedro_project import BIN, Place, Run, command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
]

_FLUSH = re.compile(r"^(?P<thread>\d+) .*f(?:data)?sync\(\d+<(?P<path>[^>]*)>(?P<rest>.*)")
_RESUMED = re.compile(r"^(?P<thread>\d+) .*<\.\.\. f(?:data)?sync resumed>\) += 0")
"""strace parts a call that another thread interrupts."""

_RENAME = re.compile(r'(?:rename|link)(?:at2?)?\(.*"(?P<path>[^"]*)"(?:, \w+)?\) = 0')


@pytest.fixture(scope="module")
def traced(sample: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[str]]:
    """A full run into a new lake, and its system calls that concern durability, in order."""
    folder = tmp_path_factory.mktemp("traced")
    place = Place(sample.clone, sample.raw, str(folder / "lake"))
    log = folder / "log"
    calls = "fsync,fdatasync,rename,renameat,renameat2,link,linkat"
    command(
        *("strace", "-f", "-y", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(log)),
        *(str(BIN / "kedro"), "run", "--env=test", "--recompute"),
        cwd=place.clone,
        environment=place.environment,
    )
    (version,) = place.records()
    return Run(place, version), log.read_text(errors="replace").splitlines()


def flushed_before(lines: list[str], target: Path) -> tuple[set[Path], int]:
    """Return the paths that were flushed before a file got its name, and the line of that."""
    flushed: set[Path] = set()
    unfinished: dict[str, Path] = {}
    for number, line in enumerate(lines):
        if match := _FLUSH.search(line):
            if re.search(r"\) += 0", match["rest"]):
                flushed.add(Path(match["path"]))
            elif "unfinished" in match["rest"]:
                unfinished[match["thread"]] = Path(match["path"])
        elif match := _RESUMED.search(line):
            flushed.add(unfinished.pop(match["thread"]))
        elif (match := _RENAME.search(line)) and Path(match["path"]) == target:
            return flushed, number
    raise AssertionError(f"{target} was never renamed")


def check_flushed(flushed: set[Path], files: list[Path], root: Path) -> None:
    # An atomic write flushes the file under its temporary name.
    temporary = {path.parent / path.name[1:].rpartition(".")[0] for path in flushed}
    assert [path for path in files if path not in flushed | temporary] == []
    folders = {parent for path in files for parent in path.parents if parent.is_relative_to(root)}
    assert folders - flushed == set()


def test_artifacts_reach_the_disk_before_the_pointer(traced: tuple[Run, list[str]]) -> None:
    run, lines = traced
    root = Path(run.place.lake)
    manifest = json.loads((root / f"releases/{run.version}.json").read_text())
    files = [root / artifact["path"] for artifact in manifest["artifacts"].values()]
    photos = sorted((root / "07_model_output/photos").glob("*.jpegs"))
    assert len(files) > 10
    assert photos

    flushed, line = flushed_before(lines, root / "releases/current.json")

    check_flushed(flushed, [*files, *photos, root / f"releases/{run.version}.json"], root)
    assert any(f"<{root}/releases>" in later for later in lines[line:])


def test_outputs_reach_the_disk_before_the_record(traced: tuple[Run, list[str]]) -> None:
    run, lines = traced
    root = Path(run.place.lake)
    versioned = [path for path in root.glob(f"*/*/{run.version}/*") if path.is_file()]
    tables = [path for path in root.glob("*/*.lance/**/*") if path.is_file()]
    assert len(versioned) > 50
    assert len(tables) > 10

    flushed, _ = flushed_before(lines, root / f"runs/{run.version}.json")

    check_flushed(flushed, [*versioned, *tables], root)
