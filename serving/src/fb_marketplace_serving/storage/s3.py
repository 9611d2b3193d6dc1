"""S3 for fsspec: s3fs with one bounded retry loop, random waits, and OSErrors only.

Measured on s3fs 2026.9 and aiobotocore 3.10 with ``fault_proxy.py`` in the tests:

- Retries multiply. s3fs retries each request five times and each body five times, and botocore retries five
  times below both. A listing that gets SlowDown is requested 25 times in 44 s, and a file that hangs would
  be requested a hundred times. s3fs does not retry a 500 at all.
- s3fs waits without jitter, so clients that were throttled together return together.
- s3fs reads a file over 50 MB in parts, and does not retry a part that breaks off.
- The last error may be one of aiohttp, which is not an OSError.
- If the store refuses some of several deletes, s3fs reports that all were deleted.
- At most ten connections are open, whatever the number of concurrent requests.

Here one loop replaces all other retries: botocore and s3fs make a single attempt, and reading the body is
part of the attempt. aiohttp raises an error if a body is shorter than its Content-Length.

obstore 0.12 reads small files three times as fast, but Kedro's datasets need an fsspec filesystem, and
``obstore.fsspec`` ignores conditional puts. obstore also reads no AWS profiles, and does not retry the
body of a listing, a conditional put that hangs, or a 403. Two S3 clients would take more code than one.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem
from s3fs.errors import translate_boto_error

from fb_marketplace_serving.storage.retries import Retries, RetryPolicy

MAX_CONNECTIONS: Final = 64

OPTIONS: Final[dict[str, Any]] = {
    "use_listings_cache": False,
    "max_concurrency": 1,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 5,
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": MAX_CONNECTIONS,
    },
}
"""Default options of a filesystem on S3.

Listings are not cached: a cached listing hides files that other processes have written since. With a
concurrency of one, s3fs reads a file with one request, and so always one version of it; otherwise it would
request the size first. ``read_timeout`` is the longest pause between bytes. S3 sends its first byte within
a fraction of a second.
"""

S3_POLICY: Final = RetryPolicy(max_attempts=20, min_attempts=4, first_wait_s=0.1)
"""The deadline ends the retries: 20 attempts wait for 31 s on average. A store that restarts refuses
connections at once, and was given up after some 7 s with 8 attempts."""

DENIED_DEADLINE_S: Final = 3.0
"""Deadline for a 403. A permission that was just granted may still be denied for a moment; a missing one
is denied forever."""

_TRANSIENT_ERRORS: Final = (
    botocore_errors.ConnectionError,
    botocore_errors.HTTPClientError,
    ResponseParserError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientConnectionError,
    asyncio.TimeoutError,
)
_TRANSIENT_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_TRANSIENT_CODES: Final = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)
_WRONG_KEY_CODES: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})


class RetryingS3FileSystem(S3FileSystem):  # type: ignore[misc]  # no stubs
    """s3fs with the retries of this module. fsspec uses it for ``s3://`` after :func:`lake.register_s3`."""

    retries = 1

    def __init__(self, *args: Any, **options: Any) -> None:
        """Create a filesystem with the arguments of s3fs. ``OPTIONS`` are the defaults."""
        config = OPTIONS["config_kwargs"] | (options.get("config_kwargs") or {})
        super().__init__(*args, **(OPTIONS | options | {"config_kwargs": config}))

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Split a path into bucket and key. ``?versionId=`` in a key is a part of it, unlike in s3fs."""
        before, mark, after = path.partition("?versionId=")
        bucket, key, _ = super().split_path(before)
        return bucket, f"{key}{mark}{after}", None

    async def _lsdir(self, path: str, *args: Any, prefix: str = "", **options: Any) -> Any:
        """List a folder. s3fs would strip a slash at the beginning of its key."""
        bucket, key, _ = self.split_path(path)
        if key.startswith("/"):
            path, prefix = bucket, f"{key}/{prefix}"
        return await super()._lsdir(path, *args, prefix=prefix, **options)

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Send a request until its response is complete.

        Raises:
            ConnectionError: all attempts failed.
            OSError: the store refused the request; s3fs chooses the class.
        """
        try:
            await self.set_session()
            client = await self.get_s3(kwargs.get("Bucket"))
        except botocore_errors.BotoCoreError as error:
            raise OSError(str(error)) from error
        call = getattr(client, method)
        request = self._get_s3_method_kwargs(call, *akwarglist, **kwargs)
        key = kwargs.get("Key") or kwargs.get("Prefix") or ""
        return await _retry(
            partial(_send, call, request),
            partial(self._is_done, method, request),
            f"{method} s3://{kwargs.get('Bucket', '')}/{key}",
        )

    # s3fs binds this name to its own coroutine, and its open files use it.
    call_s3 = sync_wrapper(_call_s3)

    async def _cat_with_etag(self, path: str) -> tuple[bytes, str]:
        """Read a file and its ETag with one request."""
        bucket, key, _ = self.split_path(path)
        response = await self._call_s3("get_object", Bucket=bucket, Key=key)
        return await response["Body"].read(), str(response["ETag"])

    cat_with_etag = sync_wrapper(_cat_with_etag)

    async def _cat_as_listed(
        self, paths: Sequence[str], etags: Sequence[str], max_concurrency: int
    ) -> list[bytes | BaseException | None]:
        """Read files concurrently, except those that have been replaced since they were listed.

        Args:
            paths: the files.
            etags: their ETags in the listing.
            max_concurrency: maximum number of concurrent reads.

        Returns:
            For each path: its content, None if the file has been replaced, or the error.
        """
        slots = asyncio.Semaphore(max_concurrency)

        async def read(path: str, etag: str) -> bytes | None:
            async with slots:
                return await self._read_as_listed(path, etag)

        reads = [read(path, etag) for path, etag in zip(paths, etags, strict=True)]
        return await asyncio.gather(*reads, return_exceptions=True)

    cat_as_listed = sync_wrapper(_cat_as_listed)

    async def _read_as_listed(self, path: str, etag: str) -> bytes | None:
        """Read a file; None if it has been replaced.

        ``If-Match`` cannot check this: the listings of some stores have other ETags than the files, or
        none. A file with another ETag is therefore listed again. It has been replaced if its entry in the
        listing has changed, or if the file has changed since it was read.

        Raises:
            FileNotFoundError: the file does not exist any more.
        """
        bucket, key, _ = self.split_path(path)
        response = await self._call_s3("get_object", Bucket=bucket, Key=key)
        if _etag(response) != etag:
            page = await self._call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
            tags = [_listed_tag(entry) for entry in page.get("Contents", ()) if entry["Key"] == key]
            head = await self._call_s3("head_object", Bucket=bucket, Key=key)
            if tags != [etag] or _etag(head) != _etag(response):
                return None
        return bytes(await response["Body"].read())

    async def _is_done(self, method: str, request: dict[str, Any], error: Exception) -> bool:
        """Check whether an earlier attempt succeeded and only its response was lost.

        This is possible even if no attempt has failed before: aiohttp itself resends a request if a reused
        connection gives no response. So the stored content decides, not the number of attempts.
        """
        target = {"Bucket": request.get("Bucket"), "Key": request.get("Key")}
        code = _code(error)
        try:
            if method == "put_object" and code in {"PreconditionFailed", "412"}:
                stored = await self._call_s3("get_object", **target)
                return bool(await stored["Body"].read() == request.get("Body"))
            if method == "complete_multipart_upload" and code == "NoSuchUpload":
                return bool(await self._call_s3("head_object", **target))
        except FileNotFoundError:
            return False
        return method == "abort_multipart_upload" and code == "NoSuchUpload"


class _Body(io.BytesIO):
    """A response body in memory, with the asynchronous interface of an unread one."""

    async def read(self, amount: int | None = None) -> bytes:  # type: ignore[override]
        return super().read(amount)


async def _send(call: Callable[..., Awaitable[Any]], request: dict[str, Any]) -> Any:
    """Send a request once, and read the body of the response.

    Raises:
        ClientError: some of several deletes were refused. ``request`` is reduced to these, for a retry.
    """
    response = await call(**request)
    # A file that does not exist counts as deleted.
    refused = [error for error in response.get("Errors") or () if error.get("Code") != "NoSuchKey"]
    if refused:
        request["Delete"] = request["Delete"] | {
            "Objects": [_object_id(error) for error in refused]
        }
        raise _refused_deletes(refused)
    body = response.get("Body")
    if body is not None:
        try:
            response["Body"] = _Body(await body.read())
        finally:
            body.close()
    return response


def _object_id(error: dict[str, Any]) -> dict[str, Any]:
    return {name: error[name] for name in ("Key", "VersionId") if error.get(name)}


def _refused_deletes(errors: list[dict[str, Any]]) -> botocore_errors.ClientError:
    """Return the error that the store would raise for the first file alone."""
    first, more = errors[0], len(errors) - 1
    code, reason = first.get("Code", ""), first.get("Message", "")
    files = f"{first.get('Key', '')}{f' and {more:,} more' if more else ''}"
    meta = {"HTTPStatusCode": 403 if code == "AccessDenied" else 200}
    return botocore_errors.ClientError(
        {
            "Error": {"Code": code, "Message": f"{files}: {reason or code}"},
            "ResponseMetadata": meta,
        },
        "DeleteObjects",
    )


async def _retry(
    send: Callable[[], Awaitable[Any]],
    is_done: Callable[[Exception], Awaitable[bool]],
    operation: str,
) -> Any:
    retries = Retries(S3_POLICY)
    while True:
        try:
            return await send()
        except Exception as error:
            if await is_done(error):
                return {}
            deadline = _deadline(error)
            if deadline is None:
                if isinstance(error, botocore_errors.BotoCoreError):
                    raise OSError(str(error)) from error
                if isinstance(error, botocore_errors.ClientError):
                    raise translate_boto_error(error) from error
                raise
            wait = retries.next_wait(deadline)
            if wait is None:
                reason = _reason(error)
                if deadline == DENIED_DEADLINE_S:
                    raise PermissionError(
                        f"{operation}: denied ({reason}); use a key with this permission, or grant it"
                    ) from error
                raise retries.give_up(f"{operation}: {reason}") from error
        await asyncio.sleep(wait)


def _deadline(error: Exception) -> float | None:
    """Return the deadline of retries after an error, in seconds; None if a retry would not help."""
    if not isinstance(error, botocore_errors.ClientError):
        return S3_POLICY.deadline_s if isinstance(error, _TRANSIENT_ERRORS) else None
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status in _TRANSIENT_STATUS or _code(error) in _TRANSIENT_CODES:
        return S3_POLICY.deadline_s
    return DENIED_DEADLINE_S if status == 403 and _code(error) not in _WRONG_KEY_CODES else None


def _etag(response: dict[str, Any]) -> str:
    return str(response.get("ETag", "")).strip('"')


def _listed_tag(entry: dict[str, Any]) -> str:
    """Return the ETag of a listed file, or else its modification time, as ``photo_source`` stores it."""
    return _etag(entry) or str(entry.get("LastModified", ""))


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _reason(error: Exception) -> str:
    """Describe an error in one line."""
    text = str(error)
    if isinstance(error, botocore_errors.ClientError):
        details = error.response.get("Error", {})
        text = f"{details.get('Code', '')}: {details.get('Message', '')}"
    return " ".join(text.split()).rstrip(".") or type(error).__name__
