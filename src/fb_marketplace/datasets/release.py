"""A release, which is published when it is saved."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import Manifest, ReleaseError, read_manifest
from fb_marketplace_serving.release.pointer import (
    CURRENT,
    PointerState,
    publish,
    read_current,
    read_pointer,
)
from fb_marketplace_serving.storage.lake import Lake


class ReleaseDataset(AbstractDataset[Manifest, Manifest]):
    """Publishes a manifest under the run's version. Loads a manifest.

    Example:
        .. code-block:: yaml

            release:
              type: fb_marketplace.datasets.release.ReleaseDataset
              filepath: data
              versioned: true
    """

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Set the path or URL of the lake."""
        self._filepath = filepath
        self._version = version
        self.metadata = metadata

    @property
    def _lake(self) -> Lake:
        return Lake(self._filepath)

    def load(self) -> Manifest:
        """Read the manifest of the version; that of the current release if no version is set."""
        if self._version and self._version.load:
            return read_manifest(self._lake, self._version.load)
        return read_current(self._lake)

    def save(self, data: Manifest) -> None:
        """Open the release as a server does, and publish it.

        Raises:
            ReleaseError: the artifacts do not match or do not reproduce the canaries; the release holds an
                erased listing or photo; or another release was published after the gate compared this one
                with the current release.
        """
        if self._version is None:
            raise DatasetError("A release needs the run's version: set `versioned: true`.")
        manifest = data.model_copy(update={"version": self._version.save})
        # A release that a server would reject must not be published.
        Release.from_manifest(self._lake, manifest).check_erasures(self._lake)
        # Read after opening: opening takes seconds, in which another run may publish.
        pointer = read_pointer(self._lake)
        self._check_comparison(manifest, pointer)
        publish(self._lake, manifest, pointer)

    def _exists(self) -> bool:
        try:
            self.load()
        except ReleaseError:
            return False
        return True

    def _check_comparison(self, manifest: Manifest, pointer: PointerState) -> None:
        """Check that the gate compared this release with the release that is current now."""
        gate = manifest.metrics.get("gate")
        compared_with = gate.get("current_release") if isinstance(gate, dict) else pointer.version
        if pointer.version in (None, compared_with):
            return
        try:
            newer = read_manifest(self._lake, str(pointer.version))
        except ReleaseError:
            return  # The gate ignores a damaged release, and this one replaces it.
        # A newer release with the same result in every case, such as one of the same photos, is as good.
        if (
            newer.artifacts["release_measures"].sha256
            != manifest.artifacts["release_measures"].sha256
        ):
            raise ReleaseError(
                f"{self._lake.name(CURRENT)}: release {pointer.version} was published meanwhile, but this "
                f"one was compared with {compared_with or 'none'}. Release {pointer.version} stays "
                "current. Rerun the pipeline."
            )

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}
