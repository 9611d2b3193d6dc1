"""Forms in which other systems write the same table: dialects, encodings, packings and styles of prices."""

import bz2
import csv
import gzip
import io
import lzma
import random
import re
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa


def _zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._table.csv", b"\0\5\x16\7")
        archive.writestr("table.csv", data)
    return packed.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "zip": _zip,
}
SEPARATORS = (",", ",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252")
PRICE_STYLES: dict[str, tuple[Callable[[str], str], dict[str, Any]]] = {
    "pounds": (lambda price: price, {}),
    "euros": (
        lambda price: price.translate(str.maketrans(",.£", ".,€")),
        {"symbols": ["£", "€"], "thousands": ".", "decimal": ","},
    ),
    "code": (lambda price: f"GBP {price.replace('£', '')}", {}),
    "plain": (lambda price: price.replace("£", "").replace(",", ""), {}),
    "spaces": (lambda price: price.replace(",", "\u00a0").replace("£", "") + " £", {}),
}
_PRICE = re.compile(r"£[\d,]+\.\d\d")


@dataclass(frozen=True)
class TableForm:
    """A form of a table.

    Attributes:
        separator: between fields.
        quote: around fields.
        escapes: whether quotes in a field follow a backslash, and all fields are quoted.
        line_end: between rows.
        encoding: of the text.
        packing: of the file.
        price_style: of the prices of rows that stand on one line.
        is_cut: whether the end of the packed file is missing.
    """

    separator: str = ","
    quote: str = '"'
    escapes: bool = False
    line_end: str = "\n"
    encoding: str = "utf-8"
    packing: str = "plain"
    price_style: str = "pounds"
    is_cut: bool = False

    @classmethod
    def draw(cls, chance: random.Random) -> Self:
        packing = chance.choice(list(PACKINGS))
        return cls(
            chance.choice(SEPARATORS),
            chance.choice('""\''),
            chance.random() < 0.2,
            chance.choice(("\n", "\n", "\r\n", "\r")),
            chance.choice(ENCODINGS),
            packing,
            chance.choice(list(PRICE_STYLES)),
            packing != "plain" and chance.random() < 0.1,
        )

    @property
    def load_args(self) -> dict[str, Any]:
        """The options that cannot be detected."""
        return {
            **({"quotechar": self.quote} if self.quote != '"' else {}),
            **({"escapechar": "\\"} if self.escapes else {}),
            **({"encoding": "Windows-1252"} if self.encoding == "cp1252" else {}),
        }

    @property
    def price_parameters(self) -> dict[str, Any]:
        return PRICE_STYLES[self.price_style][1]

    def write(self, lines: list[bytes], complete: Collection[bytes]) -> bytes:
        """Write a table.

        Args:
            lines: lines of the table as CSV with commas and doubled quotes; some may be spoiled.
            complete: the lines that are not. Those that hold a row are written anew; of all others, the
                separators and quotes are exchanged.
        """
        width = len(next(csv.reader([lines[0].decode()])))
        written = [
            self._rewritten(line, width) if line in complete else self._exchanged(line)
            for line in lines
        ]
        end = self.line_end.encode()
        data = end.join([*written, b""])
        if self.line_end == "\r":
            data = end.join([*(line.replace(b"\r", b" ") for line in written), b""])
        if self.encoding == "utf-8-sig":
            data = b"\xef\xbb\xbf" + data
        elif self.encoding != "utf-8":
            data = data.decode("utf-8", "replace").encode(self.encoding, "replace")
        packed = PACKINGS[self.packing](data)
        return packed[: len(packed) * 2 // 3] if self.is_cut else packed

    def _rewritten(self, line: bytes, width: int) -> bytes:
        try:
            (row,) = csv.reader([line.decode()], strict=True)
        except (csv.Error, ValueError):
            return self._exchanged(line)
        if len(row) != width:
            return self._exchanged(line)
        style = PRICE_STYLES[self.price_style][0]
        text = io.StringIO(newline="")
        csv.writer(
            text,
            delimiter=self.separator,
            quotechar=self.quote,
            escapechar="\\" if self.escapes else None,
            doublequote=not self.escapes,
            quoting=csv.QUOTE_ALL if self.escapes else csv.QUOTE_MINIMAL,
            lineterminator="",
        ).writerow([style(cell) if _PRICE.fullmatch(cell) else cell for cell in row])
        return text.getvalue().encode()

    def _exchanged(self, line: bytes) -> bytes:
        signs = {ord(","): self.separator, ord(self.separator): ","}
        signs |= {ord('"'): self.quote, ord(self.quote): '"'}
        table = bytes(ord(signs.get(sign, chr(sign))) for sign in range(256))
        return line.translate(table)
