"""Executes the notebooks and stores their outputs: ``make notebooks``."""

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[2] / "notebooks"
MAX_WIDTH = 760
COLORS = 64
JPEG_QUALITY = 60
SECONDS_PER_CELL = 120
DIGEST = "executed_code"
"""Metadata: digest of the code that the stored outputs are of."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True, help="has a release of the sample")
    parser.add_argument("--raw", type=Path, required=True, help="raw root of the lake")
    params = parser.parse_args()
    # Photos of real listings belong to their sellers, and not into a repository.
    if not (params.raw / "ground_truth.json").exists():
        sys.stderr.write(
            f"notebooks: found no ground_truth.json in {params.raw}; outputs are stored for the sample "
            "only. Run `make run` first, or set FB_RAW and FB_LAKE to its folders.\n"
        )
        return 1
    roots = {"FB_RAW": str(params.raw.resolve()), "FB_LAKE": str(params.lake.resolve())}
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, FOLDER, {**os.environ, **roots})
        shrink(notebook)
        notebook.metadata[DIGEST] = code_digest(notebook)
        nbformat.write(notebook, path)
        sys.stderr.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")
    return 0


def execute(notebook: Any, folder: Path, environment: Mapping[str, str]) -> None:
    """Execute a notebook in place, with a kernel of this Python; remove log lines and times."""
    with tempfile.TemporaryDirectory() as settings:
        # The user's own kernels and settings have no effect.
        own = {
            "IPYTHONDIR": f"{settings}/ipython",
            "JUPYTER_DATA_DIR": f"{settings}/jupyter",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "KEDRO_LOGGING_CONFIG": str(folder.parent / "conf/logging.yml"),
            "MPLBACKEND": "agg",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        }
        client = NotebookClient(
            notebook,
            timeout=SECONDS_PER_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env={**environment, **own})
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        # Each run logs other paths and times.
        is_setup = cell.source.startswith("%load_ext")
        cell.outputs = [
            output for output in cell.outputs if not is_setup and output.get("name") != "stderr"
        ]


def shrink(notebook: Any) -> None:
    """Reduce the images in the outputs, to a chart's few colors or a photo's JPEG."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            for kind in [name for name in data if name in ("image/png", "image/jpeg")]:
                name, content = _smallest(base64.b64decode(data.pop(kind)))
                data[name] = base64.b64encode(content).decode()


def code_digest(notebook: Any) -> str:
    """Return a digest of the code of a notebook."""
    return hashlib.sha256(
        "\0".join(cell.source for cell in code_cells(notebook)).encode()
    ).hexdigest()


def code_cells(notebook: Any) -> Iterator[Any]:
    return (cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip())


def output_kinds(cell: Any) -> list[set[str]]:
    """Return the types of each output. PNG and JPEG count as the same type."""
    return [
        {re.sub(r"image/.*", "image", kind) for kind in output.get("data", {output.get("name"): 1})}
        for output in cell.outputs
    ]


def texts_without_numbers(cell: Any) -> list[str | None]:
    """Return the text of each output, None for a text with digits: it may vary with the data."""
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return [None if re.search(r"\d", text) else text for text in texts]


def _smallest(content: bytes) -> tuple[str, bytes]:
    with Image.open(io.BytesIO(content)) as image:
        picture = image.convert("RGB")
    if picture.width > MAX_WIDTH:
        size = (MAX_WIDTH, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.quantize(COLORS).save(png, "PNG", optimize=True)
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY, optimize=True)
    candidates = {"image/png": png.getvalue(), "image/jpeg": jpeg.getvalue()}
    name = min(candidates, key=lambda kind: len(candidates[kind]))
    return name, candidates[name]


if __name__ == "__main__":
    sys.exit(main())
