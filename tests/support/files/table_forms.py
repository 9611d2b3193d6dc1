"""Forms in which other systems write the same table: dialects, encodings, packings, prices and types."""

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
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq


def _zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # A name alone would be written with the time of day.
        archive.writestr(zipfile.ZipInfo("__MACOSX/._table.csv"), b"\0\5\x16\7")
        archive.writestr(zipfile.ZipInfo("table.csv"), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, mtime=0),
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

    dataset: ClassVar[str] = "fb_marketplace.datasets.csv_table.CSVDataset"

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
            complete: the lines that are not spoiled. They are written again in this form; in all others,
                only separators and quotes are replaced.
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


TEXT_TYPES = (
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
)
PRICE_TYPES = {
    "text": None,
    "decimal": pa.decimal128(18, 4),
    "float": pa.float64(),
    "category": pa.dictionary(pa.int32(), pa.decimal128(12, 2)),
}


@dataclass(frozen=True)
class ParquetForm:
    """Types of a Parquet table.

    Attributes:
        text_type: of the columns of text.
        price_type: of the prices, a key of ``PRICE_TYPES``. Other texts than amounts are lost.
        group_rows: rows in a row group.
        has_bytes: whether there is a column of bytes.
        is_cut: whether the end of the file is missing.
    """

    text_type: pa.DataType
    price_type: str
    group_rows: int
    has_bytes: bool
    is_cut: bool

    dataset: ClassVar[str] = "fb_marketplace.datasets.parquet_table.ParquetDataset"
    load_args: ClassVar[dict[str, Any]] = {}
    price_parameters: ClassVar[dict[str, Any]] = {}

    @classmethod
    def draw(cls, chance: random.Random) -> Self:
        return cls(
            chance.choice(TEXT_TYPES),
            chance.choice(list(PRICE_TYPES)),
            chance.choice((1, 7, 1000)),
            chance.random() < 0.5,
            chance.random() < 0.1,
        )

    def write(self, lines: list[bytes], complete: Collection[bytes]) -> bytes:
        """Write a table; each line is a row, with its first fields if it is spoiled."""
        names = [name.decode() or "Unnamed: 0" for name in lines[0].split(b",")]
        rows = [_fields(line, len(names)) for line in lines[1:]]
        columns = {
            name: self._column(name, [row[place] for row in rows])
            for place, name in enumerate(names)
        }
        if self.has_bytes:
            columns["thumbnail"] = pa.array([b"\xff\xd8"] * len(rows))
        data = io.BytesIO()
        pq.write_table(pa.table(columns), data, row_group_size=self.group_rows)
        written = data.getvalue()
        return written[: len(written) * 2 // 3] if self.is_cut else written

    def _column(self, name: str, cells: list[bytes]) -> pa.Array:
        type_ = PRICE_TYPES[self.price_type]
        if name == "price" and type_ is not None:
            texts = [cell.decode("utf-8", "replace") for cell in cells]
            amounts = [
                Decimal(text.strip("£").replace(",", "")) if _PRICE.fullmatch(text) else None
                for text in texts
            ]
            if pa.types.is_dictionary(type_):
                return pa.array(amounts, type_.value_type).dictionary_encode()
            if pa.types.is_floating(type_):
                amounts = [None if amount is None else float(amount) for amount in amounts]
            return pa.array(amounts, type_)
        # Without a check of the encoding, as some writers do.
        values = pa.array([cell or None for cell in cells], pa.binary())
        texts = pa.Array.from_buffers(pa.string(), len(values), values.buffers(), values.null_count)
        if pa.types.is_dictionary(self.text_type):
            return texts.dictionary_encode()
        return texts.cast(self.text_type)


def _fields(line: bytes, width: int) -> list[bytes]:
    """Return the fields of a line; empty ones if there are too few."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        (row,) = csv.reader([text.replace("\r", " ")])
    except (csv.Error, ValueError):
        row = [text]
    return [cell.encode("utf-8", "surrogateescape") for cell in [*row, *[""] * width][:width]]


Form = TableForm | ParquetForm


def draw_form(chance: random.Random) -> Form:
    """Return a random form: a Parquet table in one of four."""
    return (ParquetForm if chance.random() < 0.25 else TableForm).draw(chance)
