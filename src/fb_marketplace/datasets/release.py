"""A release, published by being saved."""

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
            ReleaseError: its parts do not fit each other, or do not answer the canaries; or another
                release was put in force since the gate compared it with the one that was.
        """
        if self._version is None:
            raise DatasetError("a release takes the run's version: set `versioned: true`")
        sealed = data.model_copy(update={"version": self._version.save})
        # Whoever serves it opens it so: what would be refused there is not published here.
        Release.from_manifest(self._filepath, sealed)
        # Only now, as opening takes seconds, in which another run may publish.
        seen = read_pointer(self._filepath)
        self._refuse_if_judged_against_another(sealed, seen)
        publish(self._filepath, sealed, seen)

    def _refuse_if_judged_against_another(self, sealed: Manifest, seen: PointerState) -> None:
        """Of two runs at once the second was held against what was in force before the first."""
        gate = sealed.metrics.get("gate")
        judged_against = gate.get("current_release") if isinstance(gate, dict) else seen.version
        if seen.version in (None, judged_against):
            return
        try:
            newer = read_manifest(self._filepath, str(seen.version))
        except ReleaseError:
            return  # Damaged: the gate compares with no such release, and this one repairs it.
        # One that did the same in every case, as of the same photos, is no worse than that.
        if (
            newer.artifacts["release_measures"].sha256
            != sealed.artifacts["release_measures"].sha256
        ):
            raise ReleaseError(
                f"{self._filepath}/{CURRENT}: release {seen.version} was put in force meanwhile; this one "
                f"was compared with {judged_against or 'none'}; it stays in force: run again"
            )

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}
