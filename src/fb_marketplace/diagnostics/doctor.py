"""Checks of the requirements of a run, before any work: roots, tables, disk, memory and packages.

Each check returns one line. After a failed check the others still run, except those that depend on it.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from fb_marketplace.diagnostics import system
from fb_marketplace.diagnostics.table_probe import NO_ROWS, RawTable, probe_table
from fb_marketplace.errors import UserError
from fb_marketplace.storage.error_advice import advice, cause_chain, one_line
from fb_marketplace.storage.filesystem import list_names
from fb_marketplace.storage.lake_layout import PROBE
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import (
    credentials_error,
    is_local,
    is_s3,
    local_path,
    redact_credentials,
    split,
)

# Measured with `du` on the lake of a full run (9,561 photos, 5 MB of tables), and rounded up.
BYTES_PER_PHOTO: Final = 55_000
BYTES_PER_TABLE_BYTE: Final = 5
BYTES_PER_TRAINING: Final = 450_000_000
BYTES_PER_RUN: Final = 20_000_000
CANONICAL_PHOTO_BYTES: Final = 24_000

# Peaks in `run_report`: 0.46 GB to clean the sample, 0.82 GB for a full run on it. Workers add to this.
MIN_MEMORY: Final = 700_000_000
MIN_TRAINING_MEMORY: Final = 1_500_000_000

PHOTOS_TABLE: Final = "03_primary/images.lance"

State = Literal["ok", "fails", "skipped"]

_SET_RAW: Final = (
    "Set FB_RAW to the folder or URL that contains Assets/ and images/, or run `make sample` to generate "
    "test data."
)


@dataclass(frozen=True, slots=True)
class RunRequirements:
    """Data that a run reads and writes.

    Attributes:
        raw: root of the bucket, None if the run does not read it.
        tables: tables of the bucket that the run reads.
        photos: folder of the bucket's photos, None if the run does not read them.
        lake: root of the lake, None if the run writes nothing there.
        trains: whether the run trains a network.
    """

    raw: str | None = None
    tables: tuple[RawTable, ...] = ()
    photos: str | None = None
    lake: str | None = None
    trains: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check.

    Attributes:
        subject: the thing that was checked.
        state: the outcome.
        message: the finding and the remedy, in one line.
        unreachable: whether the store could not be reached or did not answer in time.
    """

    subject: str
    state: State
    message: str
    unreachable: bool = False

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


def run_checks(needs: RunRequirements, count_remote_photos: bool = False) -> Iterator[CheckResult]:
    """Yield the result of each check.

    Args:
        needs: requirements of the run.
        count_remote_photos: whether to list the photos in a remote bucket, to estimate their disk space.
            This may take one request per thousand photos, and the run lists them again.
    """
    has_raw, unreachable = True, False
    if needs.raw is not None:
        root = _check("raw root", partial(_check_raw_root, needs.raw))
        has_raw, unreachable = root.state == "ok", root.unreachable
        yield root
        has_photos = True
        for table in needs.tables:
            result = _check(f"table {table.name}", partial(_check_table, table), has_raw)
            has_photos &= NO_ROWS not in result.message
            yield result
        if needs.photos is not None and has_photos:
            yield _check("photos", partial(_check_photos, needs.photos), has_raw)
    if needs.lake is not None:
        if unreachable and needs.raw is not None and is_s3(needs.raw) and is_s3(needs.lake):
            # The check would wait for the same timeout again.
            yield CheckResult("lake", "skipped", "same store as the raw root, which is unreachable")
        else:
            yield _check("lake", partial(_check_lake, needs.lake))
        if is_local(needs.lake):
            readable = needs if has_raw else replace(needs, tables=(), photos=None)
            yield _check("disk", partial(_check_disk, readable, count_remote_photos))
    minimum = MIN_TRAINING_MEMORY if needs.trains else MIN_MEMORY
    yield _check("memory", partial(_check_memory, minimum))
    yield _check("packages", _check_packages)


def _check(subject: str, check: Callable[[], str], has_raw: bool = True) -> CheckResult:
    if not has_raw:
        return CheckResult(subject, "skipped", "needs the raw root")
    try:
        return CheckResult(subject, "ok", redact_credentials(check()))
    except UserError as error:
        return CheckResult(subject, "fails", redact_credentials(str(error)), _is_silent(error))
    except Exception as error:  # noqa: BLE001 - any error of a store; the other checks still run
        return CheckResult(subject, "fails", _describe(error), _is_silent(error))


def _is_silent(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionError | TimeoutError) for cause in cause_chain(error))


def _check_raw_root(url: str) -> str:
    _check_credentials(url, "FB_RAW")
    root = Lake(url)
    try:
        entries = root.filesystem.ls(root.root, detail=False)
    except FileNotFoundError as error:
        raise UserError(f"{url} does not exist{_missing_bucket(error)}. {_SET_RAW}") from error
    except Exception as error:
        raise UserError(f"{url} cannot be read: {_describe(error)}") from error
    if all(split(entry)[1].startswith(".") for entry in entries):
        raise UserError(f"{url} is empty. {_SET_RAW}")
    return f"{url} is readable"


def _check_table(table: RawTable) -> str:
    folder, name = split(table.url)
    lake = Lake(folder)
    try:
        info = lake.filesystem.info(lake.full_path(name))
    except FileNotFoundError as error:
        raise _missing(table.url) from error
    if info["type"] == "directory":
        raise UserError(
            f"{table.url} is a folder; expected one file. Combine the files, or set `filepath` in "
            "catalog_cleaning.yml to one of them."
        )
    try:
        return probe_table(table, int(info["size"]))
    except UserError as error:
        raise UserError(f"{table.url}: {error}") from error


def _check_photos(url: str) -> str:
    folder, name = split(url)
    parent = Lake(folder)
    # List the parent: a listing of the photos may have a thousand pages.
    if name not in {split(entry)[1] for entry in parent.filesystem.ls(parent.root, False)}:
        raise _missing(url)
    return f"{url} exists"


def _missing(url: str) -> UserError:
    folder, name = split(url)
    return UserError(f"{folder} has no {name}; it contains {list_names(folder)}. {_SET_RAW}")


def _check_lake(url: str) -> str:
    """Write a probe, check that it is readable and protected against overwriting, and remove it."""
    _check_credentials(url, "FB_LAKE")
    probe = f"{PROBE}{uuid.uuid4().hex}.part"
    if is_local(url):
        # No folder is created: another run may already use it when the probe is removed.
        lake = Lake(str(system.nearest_existing_folder(local_path(url) / "work")))
    else:
        lake, probe = Lake(url), f"work/{probe}"
        _check_listing(lake)
    RunRecords(Lake(url)).check_layout()
    content = probe.encode()
    try:
        lake.create(probe, content)
    except Exception as error:
        remedy = ". Set FB_LAKE to a writable folder" if is_local(url) and not advice(error) else ""
        raise UserError(f"{url} is not writable: {_describe(error)}{remedy}") from error
    try:
        if lake.read(probe) != content:
            raise UserError(f"{url} returns different bytes than were written. Use another store.")
        # fsspec has no conditional writes for other stores.
        if (is_local(url) or is_s3(url)) and _overwrites(lake, probe, content):
            raise UserError(
                f"{url} overwrote an existing object: two concurrent runs could both succeed. Use a store "
                "that supports If-None-Match."
            )
    finally:
        _remove(lake, probe)
    return f"{url} is readable and writable"


def _overwrites(lake: Lake, path: str, content: bytes) -> bool:
    try:
        # Other bytes, since an earlier attempt whose response was lost may have written the same.
        lake.create(path, content[::-1])
    except FileExistsError:
        return False
    return True


def _check_listing(lake: Lake) -> None:
    try:
        lake.filesystem.ls(lake.root, detail=False)
    except FileNotFoundError as error:
        if advice(error):
            raise UserError(f"{lake.url}: {_describe(error)}") from error
    except Exception as error:
        raise UserError(f"{lake.url} cannot be read: {_describe(error)}") from error


def _remove(lake: Lake, path: str) -> None:
    try:
        lake.remove(path)
    except Exception as error:
        raise UserError(
            f"{lake.url} is writable, but {path} cannot be removed and remains: {_describe(error)}"
        ) from error


def _check_disk(needs: RunRequirements, count_remote_photos: bool) -> str:
    lake = local_path(needs.lake or "")
    free, needed = system.free_disk(lake), bytes_needed(needs, lake, count_remote_photos)
    message = f"{free / 1e9:,.2f} GB free at {lake}; the run may need {needed / 1e9:,.2f} GB"
    if free < needed:
        raise UserError(f"{message}. Free some space, or set FB_LAKE to a larger disk.")
    return message


def bytes_needed(needs: RunRequirements, lake: Path, count_remote_photos: bool) -> int:
    """Estimate the bytes that a run adds to a local lake, which may already have some of the photos."""
    needed = BYTES_PER_RUN + BYTES_PER_TRAINING * needs.trains
    for table in needs.tables:
        folder, name = split(table.url)
        with suppress(OSError):
            needed += BYTES_PER_TABLE_BYTE * Lake(folder).sizes().get(name, 0)
    if needs.photos is not None and (count_remote_photos or is_local(needs.photos)):
        existing = system.folder_size(lake / PHOTOS_TABLE) // CANONICAL_PHOTO_BYTES
        needed += BYTES_PER_PHOTO * max(0, _count(needs.photos) - existing)
    return needed


def _count(photos: str) -> int:
    if not is_local(photos):
        return len(PhotoSource(photos).files())
    with suppress(OSError), os.scandir(local_path(photos)) as entries:
        return sum(1 for _ in entries)
    return 0


def _check_memory(minimum: int) -> str:
    limit = system.memory_limit()
    if limit < minimum:
        raise UserError(
            f"{limit / 1e9:.2f} GB; this run needs at least {minimum / 1e9:.1f} GB. Use a larger machine, "
            "or give the container more memory."
        )
    return f"{limit / 1e9:.1f} GB"


def _check_packages() -> str:
    incompatible = system.incompatible_packages()
    if incompatible is None:
        return "not installed as a package; versions were not compared"
    if incompatible:
        raise UserError(
            f"{'; '.join(incompatible)}. Run `make setup`, or install the required versions."
        )
    return "all versions are as required"


def _check_credentials(url: str, variable: str) -> None:
    message = credentials_error(url, variable)
    if message:
        raise UserError(message)


def _describe(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.filename else one_line(error)
    remedy = advice(error)
    return f"{text}; {remedy}" if remedy else str(text)


def _missing_bucket(error: BaseException) -> str:
    responses: list[Any] = [getattr(cause, "response", None) for cause in cause_chain(error)]
    return ": the bucket does not exist" if any(responses) and advice(error) else ""
