"""What a run needs, looked at before any work: each thing in one line, what is wrong and what to do.

Every check is made, whatever another finds, but for those that could only find the same again.
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
from fb_marketplace.diagnostics.table_probe import RawTable, probe_table
from fb_marketplace.errors import UserError
from fb_marketplace.storage.error_advice import advice, cause_chain, one_line
from fb_marketplace.storage.filesystem import is_local, list_names, open_root
from fb_marketplace.storage.lake_layout import PROBE
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import credentials_error, redact_credentials

# What a whole run on 9,561 photos and 5 MB of tables left, by `du` of its lake; a little more of each.
BYTES_PER_PHOTO: Final = 55_000
BYTES_PER_ROW_BYTE: Final = 5
BYTES_OF_A_TRAINING: Final = 450_000_000
BYTES_ANYWAY: Final = 20_000_000
CANONICAL_PHOTO_BYTES: Final = 24_000

# Cleaning the sample held 0.46 GB (`run_report`), a whole run on it was seen with 0.82; workers add theirs.
MIN_MEMORY: Final = 700_000_000
MIN_TRAINING_MEMORY: Final = 1_500_000_000

PHOTOS_TABLE: Final = "03_primary/images.lance"

State = Literal["ok", "fails", "not looked at"]


@dataclass(frozen=True, slots=True)
class RunRequirements:
    """What a run reads and writes.

    Attributes:
        raw: root of the bucket, if anything of it is read.
        tables: of the bucket that are read.
        photos: folder of the bucket's photos, if they are read.
        lake: root of the lake, if anything is written there.
        trains: whether a network is trained.
    """

    raw: str | None = None
    tables: tuple[RawTable, ...] = ()
    photos: str | None = None
    lake: str | None = None
    trains: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What became of a check.

    Attributes:
        what: was looked at.
        state: whether it is well.
        told: in one line, what was found and what to do.
        silent: whether a store gave no answer at all, for as long as one is waited for.
    """

    what: str
    state: State
    told: str
    silent: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.told}"


def run_checks(needs: RunRequirements, thorough: bool = False) -> Iterator[CheckResult]:
    """Look at all that a run needs, one thing after the other.

    Args:
        needs: of the run.
        thorough: whether to list a bucket's photos too, to say how much room they will take: that may
            take a request for each thousand of them, which the run itself makes later.
    """
    raw_is_there, silent = True, False
    if needs.raw is not None:
        root = _checked("raw root", partial(_see_root, needs.raw))
        raw_is_there, silent = root.state == "ok", root.silent
        yield root
        for table in needs.tables:
            yield _checked(f"table {table.name}", partial(_see_table, table), raw_is_there)
        if needs.photos is not None:
            yield _checked("photos", partial(_see_photos, needs.photos), raw_is_there)
    if needs.lake is not None:
        if silent and _one_store(needs.raw, needs.lake):
            # To be told the same takes as long again.
            yield CheckResult("lake", "not looked at", "its store, the raw root's, gives no answer")
        else:
            yield _checked("lake", partial(_see_lake, needs.lake))
        if is_local(needs.lake):
            seen = needs if raw_is_there else replace(needs, tables=(), photos=None)
            yield _checked("disk", partial(_see_disk, seen, thorough))
    least = MIN_TRAINING_MEMORY if needs.trains else MIN_MEMORY
    yield _checked("memory", partial(_see_memory, least))
    yield _checked("packages", _see_packages)


def _checked(what: str, look_at: Callable[[], str], worth_it: bool = True) -> CheckResult:
    if not worth_it:
        return CheckResult(what, "not looked at", "the raw root has to be there first")
    try:
        return CheckResult(what, "ok", redact_credentials(look_at()))
    except UserError as error:
        return CheckResult(what, "fails", redact_credentials(str(error)), _is_silent(error))
    except Exception as error:  # noqa: BLE001 - whatever a store raises, the other checks are made
        return CheckResult(what, "fails", _said(error), _is_silent(error))


def _is_silent(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionError | TimeoutError) for cause in cause_chain(error))


def _one_store(raw: str | None, lake: str) -> bool:
    return raw is not None and all(url.startswith("s3://") for url in (raw, lake))


def _see_root(url: str) -> str:
    _refuse_credentials(url, "FB_RAW")
    filesystem, path = open_root(url)
    try:
        found = filesystem.ls(path, detail=False)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {url}{_as_the_store_said(error)}. Set FB_RAW to the folder or URL that holds "
            "Assets/ and images/; `make sample` draws one to try"
        ) from error
    except Exception as error:
        raise UserError(f"{url} cannot be read: {_said(error)}") from error
    if all(name.rstrip("/").rpartition("/")[2].startswith(".") for name in found):
        raise UserError(
            f"{url} holds nothing. Set FB_RAW to the folder or URL that holds Assets/ and images/; "
            "`make sample` draws one to try"
        )
    return f"{url} can be read"


def _see_table(table: RawTable) -> str:
    filesystem, path = open_root(table.url)
    try:
        size = int(filesystem.info(path)["size"])
    except FileNotFoundError as error:
        raise _not_there(table.url) from error
    try:
        return probe_table(table, filesystem, path, size)
    except UserError as error:
        raise UserError(f"{table.url}: {error}") from error


def _see_photos(url: str) -> str:
    folder, _, name = url.rpartition("/")
    filesystem, path = open_root(folder)
    # The folder above it, as a listing of the photos themselves may have a thousand pages.
    if name not in {each.rstrip("/").rpartition("/")[2] for each in filesystem.ls(path, False)}:
        raise _not_there(url)
    return f"{url} is there"


def _not_there(url: str) -> UserError:
    folder, _, name = url.rpartition("/")
    return UserError(
        f"there is no {name} in {folder}, which holds {list_names(folder)}. Set FB_RAW to the folder or "
        "URL that holds Assets/ and images/; `make sample` draws one to try"
    )


def _see_lake(url: str) -> str:
    """Write an object that nobody reads, see that it is there and not written over, and remove it."""
    _refuse_credentials(url, "FB_LAKE")
    name = f"{PROBE}{uuid.uuid4().hex}.part"
    if is_local(url):
        # No folder is made: another run might be about to use it when it is taken away again.
        at = system.nearest_existing_folder(Path(url.removeprefix("file://"), "work"))
        place, key = str(at), name
    else:
        place, key = url, f"work/{name}"
        _list(url)
    content = name.encode()
    lake = Lake(place)
    try:
        lake.create(key, content)
    except Exception as error:
        to_do = (
            ". Set FB_LAKE to a folder that can be" if is_local(url) and not advice(error) else ""
        )
        raise UserError(f"{url} cannot be written to: {_said(error)}{to_do}") from error
    try:
        if lake.read(key) != content:
            raise UserError(f"{url} gives back other bytes than were written; use another store")
        # fsspec has no such condition for other stores.
        if (is_local(url) or url.startswith("s3://")) and _writes_over(lake, key, content):
            raise UserError(
                f"{url} wrote over an object that was to be a new one: two runs at once could both win. "
                "Use a store that honours If-None-Match"
            )
    finally:
        _remove(place, key)
    return f"{url} can be read and written to"


def _writes_over(lake: Lake, key: str, content: bytes) -> bool:
    try:
        # Other bytes: the same ones may be what an earlier try, whose answer was lost, has written.
        lake.create(key, content[::-1])
    except FileExistsError:
        return False
    return True


def _list(url: str) -> None:
    filesystem, path = open_root(url)
    try:
        filesystem.ls(path, detail=False)
    except FileNotFoundError as error:
        if advice(error):
            raise UserError(f"{url}: {_said(error)}") from error
    except Exception as error:
        raise UserError(f"{url} cannot be read: {_said(error)}") from error


def _remove(place: str, key: str) -> None:
    filesystem, path = open_root(place)
    try:
        filesystem.rm_file(f"{path}/{key}")
    except Exception as error:
        raise UserError(
            f"{place} can be written to, but {key} cannot be removed again and is left there: "
            f"{_said(error)}"
        ) from error


def _see_disk(needs: RunRequirements, thorough: bool) -> str:
    lake = Path((needs.lake or "").removeprefix("file://"))
    free, needed = system.free_disk(lake), bytes_needed(needs, lake, thorough)
    told = f"{free / 1e9:,.2f} GB are free at {lake}; the run may need {needed / 1e9:,.2f}"
    if free < needed:
        raise UserError(f"{told}. Make room, or set FB_LAKE to a larger disk")
    return told


def bytes_needed(needs: RunRequirements, lake: Path, thorough: bool) -> int:
    """Estimate how much a run adds to a local lake: what it holds of photos is not made again."""
    needed = BYTES_ANYWAY + BYTES_OF_A_TRAINING * needs.trains
    for table in needs.tables:
        filesystem, path = open_root(table.url)
        with suppress(OSError):
            needed += BYTES_PER_ROW_BYTE * int(filesystem.info(path)["size"])
    if needs.photos is not None and (thorough or is_local(needs.photos)):
        held = system.folder_size(lake / PHOTOS_TABLE) // CANONICAL_PHOTO_BYTES
        needed += BYTES_PER_PHOTO * max(0, _count(needs.photos) - held)
    return needed


def _count(photos: str) -> int:
    if not is_local(photos):
        return len(PhotoSource(photos).files())
    with suppress(OSError), os.scandir(photos.removeprefix("file://")) as entries:
        return sum(1 for _ in entries)
    return 0


def _see_memory(least: int) -> str:
    limit = system.memory_limit()
    if limit is None:
        return "how much there is cannot be told on this system"
    if limit < least:
        raise UserError(
            f"there are {limit / 1e9:.2f} GB; this run takes {least / 1e9:.1f} or more. Use a larger "
            "machine, or give the container more"
        )
    return f"{limit / 1e9:.1f} GB"


def _see_packages() -> str:
    unfit = system.incompatible_packages()
    if unfit is None:
        return "not installed as a package: versions were not compared"
    if unfit:
        raise UserError(f"found {'; '.join(unfit)}. Run `make setup`, or install what is asked for")
    return "all of the versions that are asked for"


def _refuse_credentials(url: str, variable: str) -> None:
    refusal = credentials_error(url, variable)
    if refusal:
        raise UserError(refusal)


def _said(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) and error.filename else one_line(error)
    to_do = advice(error)
    return f"{told}; {to_do}" if to_do else str(told)


def _as_the_store_said(error: BaseException) -> str:
    codes: list[Any] = [getattr(cause, "response", None) for cause in cause_chain(error)]
    return ": the bucket does not exist" if any(codes) and advice(error) else ""
