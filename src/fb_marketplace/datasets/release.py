"""A release, published by being saved."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

from fb_marketplace_serving.manifest import Manifest, read_manifest
from fb_marketplace_serving.pointer import look, publish, read_current
from fb_marketplace_serving.release import Release


class ReleaseDataset(AbstractDataset[Manifest, Manifest]):
    """Saves a manifest under the run's version, and points to it; loads one.

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
        """Name the lake, by its path or URL; releases are below it."""
        self._filepath = filepath
        self._version = version
        self.metadata = metadata

    def load(self) -> Manifest:
        """Read the manifest of the version asked for; without one, of the release in force."""
        if self._version and self._version.load:
            return read_manifest(self._filepath, self._version.load)
        return read_current(self._filepath)

    def save(self, data: Manifest) -> None:
        """Open it as a server does, and publish it.

        Raises:
            ReleaseError: its parts do not fit each other, or do not answer the canaries.
        """
        if self._version is None:
            raise DatasetError("a release takes the run's version: set `versioned: true`")
        sealed = data.model_copy(update={"version": self._version.save})
        seen = look(self._filepath)
        # Whoever serves it opens it so: what would be refused there is not published here.
        Release.of_manifest(self._filepath, sealed)
        publish(self._filepath, sealed, seen)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}
