"""Options of ``pandas.read_csv`` for raw tables: each works as in pandas, or is rejected by name."""

import csv
import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.packing import INFER

_VALUE_OPTIONS: Final = frozenset(
    (
        *("usecols", "dtype", "dtype_backend", "converters", "true_values", "false_values"),
        *("na_values", "keep_default_na", "na_filter", "thousands", "decimal", "float_precision"),
        *("parse_dates", "date_format", "dayfirst", "cache_dates", "low_memory", "quoting"),
    )
)
"""Options that pandas applies to the complete rows."""

_REMEDIES: Final = {
    "index_col": "Remove it: ids are read as columns.",
    "skipfooter": "Remove it: lines that are not complete rows are quarantined.",
    "skip_blank_lines": "Remove it: blank lines are always skipped.",
    "on_bad_lines": "Remove it: bad lines are quarantined.",
    "chunksize": "Remove it: a table is read completely.",
    "iterator": "Remove it: a table is read completely.",
    "engine": "Remove it: the engine is always pandas' C parser.",
    "memory_map": "Remove it: tables are read through fsspec.",
    "dialect": "Set `sep`, `quotechar`, `escapechar` and `doublequote` instead.",
    "storage_options": "Remove it: credentials come from the environment.",
}
_ERROR_HANDLERS: Final = ("strict", "replace", "ignore", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Format of a CSV table.

    Attributes:
        separator: between fields.
        quote: around fields with a separator, a line end or a quote. Empty: quotes have no meaning.
        escape: precedes a character that has no special meaning. Empty: none.
        has_doubled_quotes: whether two quotes in a quoted field are one.
        comment: precedes text to ignore, up to the line end. Empty: none.
        skips_spaces: whether spaces after a separator are ignored.
        line_end: between rows. ``\\r\\n`` also reads ``\\n``.
    """

    separator: str = ","
    quote: str = '"'
    escape: str = ""
    has_doubled_quotes: bool = True
    comment: str = ""
    skips_spaces: bool = False
    line_end: str = "\r\n"


@dataclass(frozen=True, slots=True)
class CSVOptions:
    """Options for reading a CSV table.

    Attributes:
        dialect: the format.
        detects_separator: whether the separator is unknown.
        detects_line_end: whether the line end is unknown.
        header: number of the record with the column names, after the skipped lines; None if there is none.
        names: column names that replace the header.
        skipped_lines: number of lines before the table.
        encoding: the configured encoding, None if unknown.
        errors: Python's handler of undecodable bytes, None for the default of :mod:`.encoding`.
        compression: pandas' name of the packing, ``infer``, or None for a plain file.
        max_rows: number of rows to read, None for all.
        values: options that pandas applies to the complete rows.
    """

    dialect: Dialect = Dialect()
    detects_separator: bool = True
    detects_line_end: bool = True
    header: int | None = 0
    names: tuple[str, ...] = ()
    skipped_lines: int = 0
    encoding: str | None = None
    errors: str | None = None
    compression: str | None = INFER
    max_rows: int | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_pandas(cls, load_args: Mapping[str, Any]) -> Self:
        """Return the options that arguments of ``pandas.read_csv`` describe.

        Raises:
            UserError: an argument is unknown or not supported.
        """
        args = _check_names(load_args)
        names = args.get("names")
        header = args.get("header", INFER)
        if header == INFER:
            header = None if names is not None else 0
        if header is not None and (type(header) is not int or header < 0):
            raise _refused("header", header, "Set the number of one record, or null with `names`.")
        if header is None and names is None:
            raise _refused("header", header, "Set `names` as well.")
        skipped = args.get("skiprows") or 0
        if type(skipped) is not int:
            raise _refused("skiprows", skipped, "Set the number of lines before the table.")
        compression = args.get("compression", INFER)
        if isinstance(compression, Mapping):
            compression = compression.get("method", INFER)
        errors = args.get("encoding_errors")
        if errors not in (None, *_ERROR_HANDLERS):
            raise _refused("encoding_errors", errors, f"Set one of {', '.join(_ERROR_HANDLERS)}.")
        return cls(
            dialect=_dialect(args),
            detects_separator=not (args.get("sep") or args.get("delimiter")),
            detects_line_end=not args.get("lineterminator"),
            header=header,
            names=tuple(map(str, names or ())),
            skipped_lines=skipped,
            encoding=args.get("encoding"),
            errors=errors,
            compression=compression,
            max_rows=args.get("nrows"),
            values={name: value for name, value in args.items() if name in _VALUE_OPTIONS},
        )


def _check_names(load_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the supported options.

    Raises:
        UserError: an option is unknown, or is not supported and differs from its default.
    """
    import pandas as pd

    known = list(inspect.signature(pd.read_csv).parameters.values())[1:]
    defaults = {parameter.name: parameter.default for parameter in known}
    for name, value in load_args.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f"Do you mean `{close[0]}`?" if close else "Remove it."
            raise UserError(f"pandas.read_csv has no option `{name}`, set under load_args. {hint}")
        is_default = value is None or value == defaults[name] or (name, value) == ("engine", "c")
        if name in _REMEDIES and not is_default and not (name == "index_col" and value is False):
            raise _refused(name, value, _REMEDIES[name])
    return {name: value for name, value in load_args.items() if name not in _REMEDIES}


def _dialect(args: Mapping[str, Any]) -> Dialect:
    separator = _character(args, "sep") or _character(args, "delimiter") or ","
    quote = _character(args, "quotechar") or '"'
    escape = _character(args, "escapechar")
    line_end = args.get("lineterminator") or "\r\n"
    if line_end != "\r\n":
        _character(args, "lineterminator")
    special = [char for char in (separator, quote, escape, line_end) if char]
    if len(set(special)) < len(special) - (escape == quote):
        raise UserError(
            f"`load_args` has one character for two purposes: {special}. Set different ones for `sep`, "
            "`quotechar`, `escapechar` and `lineterminator` in catalog_cleaning.yml."
        )
    return Dialect(
        separator,
        "" if args.get("quoting") == csv.QUOTE_NONE else quote,
        "" if escape == quote else escape,
        bool(args.get("doublequote", True)) or escape == quote,
        _character(args, "comment"),
        bool(args.get("skipinitialspace")),
        line_end,
    )


def _character(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name) or ""
    value = "\t" if value == r"\t" else value  # YAML without quotes
    if not isinstance(value, str) or len(value) > 1:
        raise _refused(name, value, "Set a single character; convert tables that need more.")
    return value


def _refused(name: str, value: Any, remedy: str) -> UserError:
    return UserError(
        f"`{name}: {value}` under load_args is not supported. {remedy} Options are in catalog_cleaning.yml."
    )
