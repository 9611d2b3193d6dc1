"""Time of `kedro registry list`, compared with an empty Kedro project.

Expected: at most 1.5 times as long, since pipelines are imported only when they are read.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
KEDRO = Path(sys.executable).with_name("kedro")
PROJECT = Path(__file__).parents[1]


def main() -> None:
    """Print the seconds of both and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        kedro(Path(folder), "new", "--name=empty", "--tools=none", "--example=n", "--telemetry=no")
        rounds = [(seconds(PROJECT), seconds(Path(folder) / "empty")) for _ in range(ROUNDS)]
    ours, empty = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(own / other for own, other in rounds)
    print(
        f"{'kedro registry list':28} ours {ours:.2f} s   empty project {empty:.2f} s   ratio {ratio:.2f}x"
    )


def seconds(project: Path) -> float:
    """Time the command in a project."""
    started = time.perf_counter()
    kedro(project, "registry", "list")
    return time.perf_counter() - started


def kedro(folder: Path, *words: str) -> None:
    """Run Kedro in a folder."""
    subprocess.run([KEDRO, *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
