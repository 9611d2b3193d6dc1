"""Records of runs: ``runs/<version>.json``, the last file that a successful run writes.

The latest version of a dataset is the one in the newest record that lists the dataset as an output.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from fb_marketplace.errors import UserError
from fb_marketplace.storage.lake_layout import VERSION, format_version, started_at
from fb_marketplace_serving.storage.lake import Lake

FOLDER: Final = "runs"

USES: Final = (FOLDER, "releases")
"""Folders with a file per version."""

logger = logging.getLogger(__name__)

LAYOUT_VERSION: Final = 2
"""Version of the layout of a lake. Releases in this layout have a schema version of 4 or more."""


class DataSketch(BaseModel):
    """Sketch of a dataset's rows: their number and the lowest hashes (bottom-k; Broder, 1997)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    lowest: tuple[int, ...]


class TrainingInputs(BaseModel):
    """Inputs of a training.

    Attributes:
        recipe: digest of each parameter and each model that it read, also through datasets in memory.
        data: sketch of each other input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: dict[str, str]
    data: dict[str, DataSketch]


class NodeFingerprint(BaseModel):
    """Everything that a node's outputs depend on, as digests.

    Attributes:
        code: the source of the node's function and of the modules that it imports.
        libraries: versions of the libraries that results may depend on.
        options: catalog options of its inputs and outputs.
        inputs: content of each input; of a dataset in memory, the fingerprint of the node that creates it.
        training: what a model was trained on, if the node trains one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    libraries: str
    options: str
    inputs: dict[str, str]
    training: TrainingInputs | None = None

    def changes_since(self, earlier: "NodeFingerprint") -> list[str]:
        """List the differences from an earlier fingerprint; empty if nothing has changed."""
        changes = [
            name
            for name in ("code", "libraries", "options")
            if getattr(self, name) != getattr(earlier, name)
        ]
        names = sorted(self.inputs.keys() | earlier.inputs.keys())
        return changes + [
            name for name in names if self.inputs.get(name) != earlier.inputs.get(name)
        ]


class RunRecord(BaseModel):
    """Record of a successful run.

    Attributes:
        layout: ``LAYOUT_VERSION`` of the run.
        inputs: version of each dataset that the run read from the lake.
        outputs: version of each dataset that the run wrote.
        skipped: reason for each dataset that the run could not create. It then has no latest version.
        fingerprints: fingerprint of each node that the run executed.
        digests: digest of the content of each dataset that the run wrote and that a node reads.
        seconds: duration of each node that the run executed.
        retained: for each model that was not trained again, the share of its data that has changed since.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: int = LAYOUT_VERSION
    version: str
    pipelines: tuple[str, ...]
    environment: str
    started: str
    ended: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    skipped: dict[str, str] = {}
    parameters: dict[str, Any]
    libraries: dict[str, str]
    code_revision: str
    fingerprints: dict[str, NodeFingerprint] = {}
    digests: dict[str, str] = {}
    seconds: dict[str, float] = {}
    retained: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The run records of a lake."""

    lake: Lake

    def write(self, record: RunRecord) -> None:
        """Write a record atomically."""
        path = f"{FOLDER}/{record.version}.json"
        self.lake.replace(path, record.model_dump_json(indent=1).encode())

    def newest_first(self) -> Iterator[RunRecord]:
        """Yield the records, newest first.

        Raises:
            UserError: the lake has another layout.
        """
        return map(RunRecord.model_validate, self._contents())

    def next_version(self, started: str) -> str:
        """Return the version of a new run, which is larger than those of all runs and releases.

        It is the start time of the run, unless the clock was set back since an earlier run.

        Args:
            started: the start time, as a version.
        """
        if not VERSION.fullmatch(started):
            return started
        names = (name.removesuffix(".json") for folder in USES for name in self.lake.sizes(folder))
        newest = max(filter(VERSION.fullmatch, names), default="")
        last = next(self.newest_first(), None)
        if started > newest and (last is None or _as_version(last.ended) <= started):
            return started
        ended = max((_as_version(record.ended) for record in self.newest_first()), default="")
        # Milliseconds of the clock keep the versions of concurrent runs apart.
        later = started_at(max(newest, ended)).replace(microsecond=0) + timedelta(seconds=1)
        version = format_version(later + timedelta(microseconds=started_at(started).microsecond))
        logger.warning("The clock is behind the last run; this run's version is %s.", version)
        return version

    def check_layout(self) -> None:
        """Check that this version of the project can use the lake.

        Raises:
            UserError: the lake has another layout.
        """
        next(self._contents(), None)

    def latest(self, names: Iterable[str]) -> dict[str, str]:
        """Return the latest version of each named dataset that has a version."""
        missing, versions = set(names), dict[str, str]()
        for record in self.newest_first():
            versions |= {name: record.outputs[name] for name in missing & record.outputs.keys()}
            missing -= versions.keys() | record.skipped.keys()
            if not missing:
                break
        return versions

    def trainings(self) -> dict[str, tuple[str, float]]:
        """Return, by node, the version of its latest training and the share of data changed since.

        Nodes that the latest run skipped have no model, and are left out.
        """
        versions: dict[str, str | None] = {}
        shares: dict[str, float] = {}
        for record in self.newest_first():
            for name, fingerprint in record.fingerprints.items():
                versions.setdefault(name, record.version if fingerprint.training else None)
            for name, share in record.retained.items():
                if name not in versions:
                    shares.setdefault(name, share)
        return {
            name: (version, shares.get(name, 0.0)) for name, version in versions.items() if version
        }

    def skipped(self, names: Iterable[str]) -> dict[str, str]:
        """Return the reason for each named dataset that the latest run could not create."""
        unknown, reasons = set(names), dict[str, str]()
        for record in self.newest_first():
            reasons |= {name: record.skipped[name] for name in unknown & record.skipped.keys()}
            unknown -= record.outputs.keys() | reasons.keys()
            if not unknown:
                break
        return reasons

    def _contents(self) -> Iterator[dict[str, Any]]:
        names = self.lake.sizes(FOLDER)
        for name in sorted(names, reverse=True):
            if not name.endswith(".json") or name.startswith("."):
                continue
            content = json.loads(self.lake.read(f"{FOLDER}/{name}"))
            if content.get("layout") != LAYOUT_VERSION:
                raise UserError(
                    f"{self.lake.url} was written by fb-marketplace 0.1, and this version cannot read it. "
                    "Set FB_LAKE to a new folder or prefix, then run `kedro run`."
                )
            yield content


def _as_version(time: str) -> str:
    return format_version(datetime.fromisoformat(time).astimezone(UTC))
