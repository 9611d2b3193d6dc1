"""S3 as fsspec knows it, asked again when it fails: so often, for so long, and with jitter between.

Found by running s3fs 2026.9 and aiobotocore 3.10, as they come, through ``tests/support/fault_proxy.py``:

- Tries multiply. s3fs asks five times around each request and five times around each body, botocore five
  times below both: a listing that is told SlowDown is asked 25 times in 44 s, and a file that hangs
  would be a hundred times. A 500, on the other hand, is asked no more by s3fs.
- s3fs waits without jitter, so that clients that were turned away together come back together.
- Of a file over 50 MB, which s3fs reads in parts, a part that breaks off is not asked again.
- What is raised in the end may be an error of aiohttp, which is no OSError.
- Files that are deleted together, and of which the store refuses some, count as deleted all.
- Ten connections are open at most, however many requests are made at once.

So one loop here takes the place of all these: botocore and s3fs ask once, and a body is part of an
answer. That a body which is shorter than announced is an error, never data, aiohttp sees to.
"""

import asyncio
import io
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem
from s3fs.errors import translate_boto_error

CONNECTIONS: Final = 64

OPTIONS: Final[dict[str, Any]] = {
    "use_listings_cache": False,
    "max_concurrency": 1,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 5,
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": CONNECTIONS,
    },
}
"""What a filesystem on S3 is opened with.

A cached listing hides what another process has just written. With a concurrency of one, a file is read
by one request, and so in one version, where s3fs would first ask how large it is. ``read_timeout`` is
how long nothing comes: 5 s are long for S3, whose first byte takes a fraction of one.
"""

TRIES: Final = 8
"""At 10 % faults one request in 100 million fails as often, at 30 % one in 15,000."""

PATIENCE: Final = 20.0
"""Seconds after which nothing is tried again: four times a store that hangs, so that a run that cannot go
on says so within a minute."""

FEWEST_TRIES: Final = 4
"""Whatever they took: a file that is read or sent for longer than the patience, and then breaks off, is
begun again. A store that hangs is asked as often in its time."""

PATIENCE_WHEN_DENIED: Final = 3.0
"""A right that was just given is denied for a while, and a wrong key for ever: whoever has mistyped it
is not to wait long."""

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 4.0
"""Seconds; each wait is drawn from nothing up to twice the bound of the one before."""

_PASSING: Final = (
    botocore_errors.ConnectionError,
    botocore_errors.HTTPClientError,
    ResponseParserError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientConnectionError,
    asyncio.TimeoutError,
)
_PASSING_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_PASSING_CODES: Final = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)
_WRONG_KEY: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})


class S3(S3FileSystem):  # type: ignore[misc]  # no stubs
    """s3fs with other tries; fsspec takes it for ``s3://`` once :func:`lake.use_own_s3` was called."""

    retries = 1

    def __init__(self, *told: Any, **options: Any) -> None:
        """Take what s3fs takes; what is not told is as in ``OPTIONS``."""
        config = OPTIONS["config_kwargs"] | (options.get("config_kwargs") or {})
        super().__init__(*told, **(OPTIONS | options | {"config_kwargs": config}))

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Send a request until it is answered in full.

        Raises:
            ConnectionError: it was not, as often as it was sent.
            OSError: what s3fs makes of a refusal.
        """
        await self.set_session()
        client = await self.get_s3(kwargs.get("Bucket"))
        call = getattr(client, method)
        told = self._get_s3_method_kwargs(call, *akwarglist, **kwargs)
        at = kwargs.get("Key") or kwargs.get("Prefix") or ""
        return await _answered(
            partial(_whole, call, told),
            partial(self._was_done, method, told),
            f"{method} at s3://{kwargs.get('Bucket', '')}/{at}",
        )

    # Files that are open ask by this one, which s3fs has bound to its own.
    call_s3 = sync_wrapper(_call_s3)

    async def _cat_as_listed(
        self, paths: Sequence[str], etags: Sequence[str], at_once: int
    ) -> list[bytes | BaseException | None]:
        """Read whole files, so many at once, each of which has to be the one that was listed.

        Gives None for another, and what went wrong in place of what was not read.
        """
        places = asyncio.Semaphore(at_once)

        async def read(path: str, etag: str) -> bytes | None:
            async with places:
                return await self._as_listed(path, etag)

        asked = [read(path, etag) for path, etag in zip(paths, etags, strict=True)]
        return await asyncio.gather(*asked, return_exceptions=True)

    cat_as_listed = sync_wrapper(_cat_as_listed)

    async def _as_listed(self, path: str, etag: str) -> bytes | None:
        """Read a file; None if another is in its place.

        Not by ``If-Match``: there are stores whose listings have other ETags than their files, or none. So
        a file that has another is looked for in the listing, and is another where that has changed, or
        where the file has changed once more.

        Raises:
            FileNotFoundError: there is none any more.
        """
        bucket, key, _ = self.split_path(path)
        answer = await self._call_s3("get_object", Bucket=bucket, Key=key)
        if _etag(answer) != etag:
            listed = await self._call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
            now = [_listed_as(each) for each in listed.get("Contents", ()) if each["Key"] == key]
            again = await self._call_s3("head_object", Bucket=bucket, Key=key)
            if now != [etag] or _etag(again) != _etag(answer):
                return None
        return bytes(await answer["Body"].read())

    async def _was_done(self, method: str, told: dict[str, Any], error: Exception) -> bool:
        """Tell whether what is refused now was done by an earlier try, whose answer was lost.

        That may be the first that is seen here: aiohttp sends again by itself what a connection that was
        kept did not answer. So it is told by what is there: what was to be written.
        """
        at = {"Bucket": told.get("Bucket"), "Key": told.get("Key")}
        code = _code(error)
        try:
            if method == "put_object" and code in {"PreconditionFailed", "412"}:
                there = await self._call_s3("get_object", **at)
                return bool(await there["Body"].read() == told.get("Body"))
            if method == "complete_multipart_upload" and code == "NoSuchUpload":
                return bool(await self._call_s3("head_object", **at))
        except FileNotFoundError:
            return False
        return method == "abort_multipart_upload" and code == "NoSuchUpload"


class _Held(io.BytesIO):
    """A body that was read, for those who expect to read it."""

    async def read(self, amount: int | None = None) -> bytes:  # type: ignore[override]
        return super().read(amount)


async def _whole(call: Callable[..., Awaitable[Any]], told: dict[str, Any]) -> Any:
    """Ask once, and read the body of the answer.

    Raises:
        ClientError: of what was to be deleted something was not; ``told`` is then about that alone.
    """
    answer = await call(**told)
    # What is not there need not be deleted.
    refused = [each for each in answer.get("Errors") or () if each.get("Code") != "NoSuchKey"]
    if refused:
        told["Delete"] = told["Delete"] | {"Objects": [_named(each) for each in refused]}
        raise _not_deleted(refused)
    body = answer.get("Body")
    if body is not None:
        try:
            answer["Body"] = _Held(await body.read())
        finally:
            body.close()
    return answer


def _named(error: dict[str, Any]) -> dict[str, Any]:
    return {name: error[name] for name in ("Key", "VersionId") if error.get(name)}


def _not_deleted(errors: list[dict[str, Any]]) -> botocore_errors.ClientError:
    """Say of one file why it was not deleted, by the error that the store gives for a file alone."""
    first, more = errors[0], len(errors) - 1
    code, said = first.get("Code", ""), first.get("Message", "")
    named = f"{first.get('Key', '')}{f' and {more:,} more' if more else ''}: {said or code}"
    meta = {"HTTPStatusCode": 403 if code == "AccessDenied" else 200}
    return botocore_errors.ClientError(
        {"Error": {"Code": code, "Message": named}, "ResponseMetadata": meta}, "DeleteObjects"
    )


async def _answered(
    ask: Callable[[], Awaitable[Any]], was_done: Callable[[Exception], Awaitable[bool]], what: str
) -> Any:
    started = time.monotonic()
    for attempt in itertools.count(1):
        try:
            return await ask()
        except Exception as error:  # whatever will not pass is raised
            if await was_done(error):
                return {}
            patience = _patience(error)
            if patience is None:
                raise translate_boto_error(error) from error
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
            spent = time.monotonic() - started
            if attempt == TRIES or (attempt >= FEWEST_TRIES and spent + wait > patience):
                raise _given_up(error, what, attempt, spent) from error
        await asyncio.sleep(wait)
    return None


def _patience(error: Exception) -> float | None:
    """Say for how many seconds an error may be hoped to pass; None for one that will not."""
    if not isinstance(error, botocore_errors.ClientError):
        return PATIENCE if isinstance(error, _PASSING) else None
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status in _PASSING_STATUS or _code(error) in _PASSING_CODES:
        return PATIENCE
    return PATIENCE_WHEN_DENIED if status == 403 and _code(error) not in _WRONG_KEY else None


def _etag(told: dict[str, Any]) -> str:
    return str(told.get("ETag", "")).strip('"')


def _listed_as(told: dict[str, Any]) -> str:
    """What is listed of a file that changes with it, as ``photo_folder`` takes it."""
    return _etag(told) or str(told.get("LastModified", ""))


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _said(error: Exception) -> str:
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return str(error)
    told = response.get("Error", {})
    return f"{told.get('Code', '')}: {told.get('Message', '')}"


def _given_up(error: Exception, what: str, attempts: int, seconds: float) -> OSError:
    said = " ".join(_said(error).split()).rstrip(".") or type(error).__name__
    if _patience(error) == PATIENCE_WHEN_DENIED:
        return PermissionError(
            f"{what}: denied ({said}); expected a key that may; give it the right, or set another"
        )
    return ConnectionError(
        f"{what}: found no answer in {attempts} tries and {seconds:.0f} s, at last {said}; expected one: "
        "run again when the store answers, what is done is kept"
    )
