"""What made a result: the code's revision and the versions of the libraries that it may depend on."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

LIBRARIES: Final = (
    "fb-marketplace",
    "faiss-cpu",
    "kedro",
    "lightgbm",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pylance",
    "scikit-learn",
    "scipy",
    "skops",
    "timm",
    "torch",
    "torchvision",
)


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries that results may depend on."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def code_revision() -> str:
    """Give the commit that runs, with ``+`` for changes on top of it; the package's version outside git."""
    try:
        # A wheel may be installed inside another project's checkout.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return version("fb-marketplace")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip()
