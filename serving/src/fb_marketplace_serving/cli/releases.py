"""Subcommands of ``fb-serve`` that manage releases. They do not need the extra ``server``."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fb_marketplace_serving.release.pointer import PointerState

Commands = Any
"""argparse's private ``_SubParsersAction``."""


def add_commands(commands: Commands) -> None:
    """Add the subcommands to a parser."""
    releases = commands.add_parser(
        "releases",
        help="list the releases of a lake",
        description="List the releases of a lake, newest first. An asterisk marks the current one.",
    )
    releases.add_argument("--json", action="store_true", help="print JSON with all metrics")
    verify = commands.add_parser(
        "verify",
        help="verify every file of a release",
        description="Verify the checksum of every file of a release, then open the release as a "
        "server does.",
    )
    verify.add_argument("version", nargs="?", help="release to verify (default: the current one)")
    rollback = commands.add_parser(
        "rollback",
        help="make another release of a lake the current one",
        description="Open a release as a server does, then make it the current one. Nothing changes "
        "if the release cannot be opened, or if another release is published meanwhile.",
    )
    rollback.add_argument("version", help="release to make current, older or newer")
    export = commands.add_parser(
        "export",
        help="copy a release to a folder that can be served without the lake",
        description="Copy a release to a folder. `fb-serve run --lake FOLDER` then serves it "
        "without the lake.",
    )
    export.add_argument("folder", help="a new or empty folder")
    export.add_argument("version", nargs="?", help="release to copy (default: the current one)")
    explain = commands.add_parser(
        "explain",
        help="show where a listing of a release comes from",
        description="Trace a listing back to its raw row and photo objects: cleaning decisions, "
        "checksums, versions. Exits with 1 if the release has no such listing.",
    )
    explain.add_argument("product", help="id of the listing, such as the product_id of a hit")
    explain.add_argument(
        "--release", metavar="VERSION", help="release of the listing (default: the current one)"
    )
    for command, function in (
        (releases, _releases),
        (verify, _verify),
        (rollback, _rollback),
        (export, _export),
        (explain, _explain),
    ):
        command.set_defaults(function=function)
        command.add_argument(
            "--lake",
            metavar="URL",
            default=os.environ.get("FB_LAKE") or "data",
            help="path or URL such as s3://… (default: FB_LAKE, else data)",
        )


def _releases(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.history import format_table, list_releases
    from fb_marketplace_serving.release.manifest import open_lake

    entries = list_releases(open_lake(options.lake))
    if options.json:
        _print(json.dumps([entry.to_json() for entry in entries], indent=2))
    else:
        _print("\n".join(format_table(entries)))


def _verify(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import verify
    from fb_marketplace_serving.release.manifest import open_lake

    manifest = verify(open_lake(options.lake), options.version, _print)
    _print(f"fb-serve: release {manifest.version} in {options.lake} is verified")


def _rollback(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import rollback
    from fb_marketplace_serving.release.manifest import open_lake

    before: PointerState = rollback(open_lake(options.lake), options.version)
    if before.version == options.version:
        _print(f"fb-serve: release {options.version} is already current")
    else:
        _print(f"fb-serve: current release changed from {before.version} to {options.version}")


def _export(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import export
    from fb_marketplace_serving.release.manifest import open_lake

    manifest = export(open_lake(options.lake), options.folder, options.version, _print)
    _print(
        f"fb-serve: release {manifest.version} is in {options.folder}; serve it with "
        f"`fb-serve run --lake {options.folder}`"
    )


def _explain(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.manifest import open_lake
    from fb_marketplace_serving.release.provenance_report import explain

    _print("\n".join(explain(open_lake(options.lake), options.product, options.release)))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
