"""What each run read and made: ``runs/<version>.json``, written last by a run that ended well.

"Latest" means: of the last run that ended well and made it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.storage.lake import Lake


class RunRecord(BaseModel):
    """What a run leaves behind when it ended well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    pipelines: tuple[str, ...]
    environment: str
    started: str
    ended: str
    read: dict[str, str]
    made: dict[str, str]
    parameters: dict[str, Any]
    libraries: dict[str, str]
    code_revision: str


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The records of one lake, in one folder."""

    url: str

    def write(self, record: RunRecord) -> None:
        """Write a run's record, whole or not at all."""
        text = record.model_dump_json(indent=1).encode()
        Lake(self.url).replace(f"{record.version}.json", text)

    def newest_first(self) -> Iterator[RunRecord]:
        """Read the records, the newest first, one by one."""
        filesystem, root = open_root(self.url)
        if not filesystem.isdir(root):
            return
        for path in sorted(filesystem.glob(f"{root}/*.json"), reverse=True):
            yield RunRecord.model_validate(json.loads(filesystem.cat_file(path)))

    def latest(self, names: Iterable[str]) -> dict[str, str]:
        """Give, for each dataset, the version of the last run that ended well and made it."""
        wanted, found = set(names), dict[str, str]()
        for record in self.newest_first():
            for name in wanted & record.made.keys():
                found[name] = record.made[name]
            wanted -= found.keys()
            if not wanted:
                break
        return found
