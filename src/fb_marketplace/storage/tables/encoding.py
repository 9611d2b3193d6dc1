"""Decoding of text files. A byte order mark decides; otherwise the setting; otherwise UTF-8."""

import codecs
from typing import Final

from fb_marketplace.errors import UserError

REPLACEMENT: Final = "\ufffd"
"""Replaces undecodable bytes (Unicode, U+FFFD)."""

MAX_UNDECODABLE: Final = 10
"""The encoding is wrong if more than one line in this many has undecodable bytes."""

_SET: Final = "`encoding` under load_args in catalog_cleaning.yml"
# The mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8", ("utf-8", "utf-8-sig")),
    (codecs.BOM_UTF32_LE, "utf-32-le", ("utf-32", "utf-32-le")),
    (codecs.BOM_UTF32_BE, "utf-32-be", ("utf-32", "utf-32-be")),
    (codecs.BOM_UTF16_LE, "utf-16-le", ("utf-16", "utf-16-le")),
    (codecs.BOM_UTF16_BE, "utf-16-be", ("utf-16", "utf-16-be")),
)
_SAMPLE_BYTES: Final = 4096


def detect_encoding(head: bytes, setting: str | None) -> str:
    """Return the codec of a file.

    Args:
        head: the first bytes.
        setting: the configured encoding, in any spelling that Python accepts.

    Raises:
        UserError: Python does not know the encoding, or the file begins with the byte order mark of
            another one.
    """
    name = _codec_name(setting) if setting else ""
    for mark, encoding, names in _MARKS:
        if head.startswith(mark):
            if name and name not in names:
                raise UserError(
                    f"The file begins with the byte order mark of {encoding}, but `encoding` is {setting}. "
                    f"Remove {_SET}."
                )
            return encoding
    if name in ("", "utf-16"):
        # Without a mark, the zero bytes of ASCII characters show the order.
        sample = head[:_SAMPLE_BYTES]
        high, low = sample[::2].count(0), sample[1::2].count(0)
        if max(high, low) * 4 > len(sample) > 0 and min(high, low) * 20 <= max(high, low):
            return "utf-16-be" if high > low else "utf-16-le"
    return name or "utf-8"


def decode(data: bytes, encoding: str, errors: str | None = None, is_cut: bool = False) -> str:
    """Decode a file, without its byte order mark.

    Args:
        data: the bytes.
        encoding: a codec from :func:`detect_encoding`.
        errors: Python's error handler. None: undecodable bytes become a replacement character, unless
            there are so many that the file must have another encoding.
        is_cut: whether the last character may be incomplete.

    Returns:
        The text. NUL characters are replaced as well.

    Raises:
        UserError: the file has another encoding.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors or "replace")
        text = decoder.decode(data, final=not is_cut).removeprefix("\ufeff")
    except UnicodeError as error:
        raise _wrong_encoding(encoding, f"the file cannot be decoded ({error})") from error
    text = text.replace("\0", REPLACEMENT)
    if errors is None and REPLACEMENT in text:
        _check_damage(text, data, encoding, is_cut)
    return text


def is_garbled_utf_8(text: str, encoding: str, is_cut: bool = False) -> bool:
    """Return whether a text that was decoded by another encoding would be valid as UTF-8."""
    try:
        data = text.encode(encoding)
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
    except UnicodeError:
        return False
    return not encoding.startswith("utf") and not data.isascii()


def _check_damage(text: str, data: bytes, encoding: str, is_cut: bool) -> None:
    lines = text.splitlines()
    damaged = sum(REPLACEMENT in line for line in lines)
    if damaged * MAX_UNDECODABLE > len(lines) - 1:
        try:
            # The text may hold replacement characters of its own.
            codecs.getincrementaldecoder(encoding)().decode(data, final=not is_cut)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(
                encoding,
                f"{damaged:,} of {len(lines):,} lines cannot be decoded ({error.reason} at byte "
                f"{error.start:,})",
            ) from error
        if b"\0" in data and encoding == "utf-8":
            raise _wrong_encoding(encoding, f"{damaged:,} of {len(lines):,} lines have NUL bytes")


def _wrong_encoding(encoding: str, problem: str) -> UserError:
    return UserError(
        f"The encoding is not {encoding}: {problem}. Save the table as {encoding}, or set {_SET}, such as "
        "cp1252 or utf-16-le."
    )


def _codec_name(setting: str) -> str:
    try:
        codec = codecs.lookup(setting)
        b"a".decode(setting, "replace")
    except (LookupError, TypeError) as error:
        raise UserError(
            f"Python knows no text encoding {setting!r}. Correct {_SET}, such as utf-8, cp1252 or utf-16."
        ) from error
    return codec.name
