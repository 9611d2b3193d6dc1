"""Forms with a file, ``multipart/form-data`` (RFC 7578)."""

import re
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import UploadFile

_MAX_PARTS: Final = 16
_MAX_SHORT_HEAD: Final = 1024
_HEADER: Final = re.compile(rb"([A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_MEMORY: Final = 1024 * 1024
"""Bytes of a file that are kept in memory. A larger file is on the disk."""


class MalformedFormError(ValueError):
    """A body that is not a complete form."""


async def read_form_file(
    content_type: str, chunks: AsyncIterator[bytes], name: str
) -> UploadFile | None:
    """Read the first file of a name from a form. All other parts are skipped.

    A part is a file if it has a file name, in any notation, or a type other than text. Old clients send
    only ``filename*`` if a name is not ASCII, and RFC 7578 requires no file name.

    Args:
        content_type: the header ``Content-Type``.
        chunks: the body.
        name: name of the part.

    Returns:
        The file, or None if there is none.

    Raises:
        MalformedFormError: the form is malformed, or ends before its closing boundary.
        OSError: the disk of the temporary folder is full.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    if not options.get(b"boundary"):
        raise MalformedFormError("The form has no boundary in its Content-Type.")
    form = _Form(name)
    try:
        parser: MultipartParser | None = None
        async for chunk in chunks:
            if form.is_complete:
                continue
            if parser is None and not form.read_single_part(chunk, options[b"boundary"]):
                parser = _make_parser(form, options[b"boundary"])
            if parser is not None:
                parser.write(chunk)
            await form.store()
    except FormParserError as error:
        form.close()
        raise MalformedFormError(f"The form is malformed: {error}") from error
    except BaseException:
        form.close()
        raise
    if not form.is_complete:
        form.close()
        raise MalformedFormError("The form ends before its closing boundary.")
    if form.file is not None:
        await form.file.seek(0)
    return form.file


def _make_parser(form: "_Form", boundary: bytes) -> MultipartParser:
    return MultipartParser(
        boundary,
        {
            "on_part_begin": form.begin_part,
            "on_header_field": form.add_header_name,
            "on_header_value": form.add_header_value,
            "on_header_end": form.end_header,
            "on_headers_finished": form.end_headers,
            "on_part_data": form.add_data,
            "on_part_end": form.end_part,
            "on_end": form.end,
        },
    )


class _Form:
    """State of a form while it is parsed."""

    def __init__(self, name: str) -> None:
        self.file: UploadFile | None = None
        self.is_complete = False
        self._name = name.encode()
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._is_stored = False
        self._unstored = bytearray()

    def read_single_part(self, body: bytes, boundary: bytes) -> bool:
        """Read a complete form of one part, as most are. The parser takes several times as long.

        Returns:
            Whether it is one. If not, nothing is read.
        """
        delimiter = b"--" + boundary
        head, _, rest = body.partition(b"\r\n\r\n")
        content, end, epilogue = rest.rpartition(b"\r\n" + delimiter + b"--")
        start, *lines = head[:_MAX_SHORT_HEAD].split(b"\r\n")
        headers = {match[1].lower(): match[2] for match in map(_HEADER.fullmatch, lines) if match}
        if (
            len(head) > _MAX_SHORT_HEAD
            or start != delimiter
            or not end
            or delimiter in content
            or epilogue.strip(b"\r\n")
            or len(headers) < len(lines)
        ):
            return False
        self.begin_part()
        self._headers = headers
        self.end_headers()
        self.add_data(content, 0, len(content))
        self.end_part()
        self.end()
        return True

    def begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise MalformedFormError(f"The form has more than {_MAX_PARTS} parts.")
        self._headers, self._is_stored = {}, False

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def end_headers(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MalformedFormError(
                'A part of the form has no header Content-Disposition: form-data; name="…".'
            )
        if self.file is None and options[b"name"] == self._name and self._is_file(options):
            content = SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - closed with the upload
            self.file = UploadFile(content, size=0)  # type: ignore[arg-type]
            self._is_stored = True

    def _is_file(self, options: dict[bytes, bytes]) -> bool:
        # The parser leaves out filename*, which RFC 7578 forbids.
        has_name = b"filename" in options or (
            b"filename*=" in self._headers[b"content-disposition"].lower().replace(b" ", b"")
        )
        kind = self._headers.get(b"content-type", b"text/plain").strip().lower()
        return has_name or not kind.startswith(b"text/")

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_stored:
            self._unstored += data[start:end]

    def end_part(self) -> None:
        self._is_stored = False

    def end(self) -> None:
        self.is_complete = True

    async def store(self) -> None:
        """Write the data parsed so far. On the disk, this happens on a thread."""
        if self._unstored and self.file is not None:
            await self.file.write(bytes(self._unstored))
            self._unstored.clear()

    def close(self) -> None:
        if self.file is not None:
            self.file.file.close()
