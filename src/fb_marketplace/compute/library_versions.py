"""Versions of libraries, which a driver and its workers must share."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fb_marketplace.errors import UserError

MISSING: Final = "none"
"""Version of a library that is not installed."""


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Return the version of each library, without its build: a driver may have torch for CPUs only."""
    return {name: _version(name) for name in libraries}


def check_versions(expected: Mapping[str, str], lock: str) -> None:
    """Check that this process, a worker's, has the driver's libraries.

    Args:
        expected: the versions of the driver.
        lock: name of the lock file of the workers, for the error.

    Raises:
        UserError: a version differs.
    """
    versions = versions_of(expected)
    different = [name for name in expected if versions[name] != expected[name]]
    if not different:
        return
    lacks = [f"{name}=={versions[name]}" for name in different if expected[name] == MISSING]
    differences = (f"{name} {versions[name]} instead of {expected[name]}" for name in different)
    remedy = (
        f"Run `pip install {' '.join(lacks)}` in the driver's environment."
        if lacks
        else f"Install {lock} in the environment of the workers."
    )
    raise UserError(f"A Ray worker has {', '.join(differences)}. Results could differ. {remedy}")


def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return MISSING
