"""Revision of the code, and versions of the libraries that results may depend on."""

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
    "pillow-heif",
    "pylance",
    "scikit-learn",
    "scipy",
    "skops",
    "timm",
    "torch",
    "torchvision",
)


def library_versions() -> dict[str, str]:
    """Return the versions of the installed ``LIBRARIES``."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def code_revision() -> str:
    """Return the git commit, with ``+`` if there are uncommitted changes; outside git, the version."""
    try:
        # The package may be installed inside the checkout of another project.
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
