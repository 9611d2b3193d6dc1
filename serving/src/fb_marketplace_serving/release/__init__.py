"""Releases: manifest, pointer, artifacts and loading."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fb_marketplace_serving.release.loader import Release

__all__ = ["Release"]


def __getattr__(name: str) -> Any:
    """Import ``Release`` on first use: it needs far more libraries than the manifest."""
    if name == "Release":
        from fb_marketplace_serving.release.loader import Release

        return Release
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
