"""The commands of ``fb-serve`` that are about releases; they need nothing of the extra ``server``."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fb_marketplace_serving.release.pointer import PointerState

Commands = Any
"""What argparse calls _SubParsersAction."""


def add_to(commands: Commands) -> None:
    """Add the commands to a parser's."""
    releases = commands.add_parser(
        "releases",
        help="list the releases of a lake",
        description="List the releases of a lake, newest first; an asterisk marks the one in force.",
    )
    releases.add_argument("--json", action="store_true", help="write JSON, with all the metrics")
    verify = commands.add_parser(
        "verify",
        help="read every file of a release and prove it",
        description="Read every file of a release, compare it with what was sealed, and open the "
        "release as a server does.",
    )
    verify.add_argument("version", nargs="?", help="which release (default: the one in force)")
    rollback = commands.add_parser(
        "rollback",
        help="put another release of a lake in force",
        description="Open a release as a server does, then put it in force. What is in force stays "
        "so if the release cannot be opened, or another is put in force meanwhile.",
    )
    rollback.add_argument("version", help="the release, older or newer")
    export = commands.add_parser(
        "export",
        help="copy a release into a folder that can be served by itself",
        description="Copy a release into a folder; then `fb-serve run --lake FOLDER` serves it "
        "with no bucket.",
    )
    export.add_argument("folder", help="a folder that is not there yet, or is empty")
    export.add_argument("version", nargs="?", help="which release (default: the one in force)")
    explain = commands.add_parser(
        "explain",
        help="say where a listing of a release comes from",
        description="Walk from a listing as it is served back to its raw row and the objects of its "
        "photos: what cleaning decided, digests, versions. Exits with 1 where the release has no such "
        "listing.",
    )
    explain.add_argument("product", help="id of the listing, such as the product_id of a hit")
    explain.add_argument(
        "--release", metavar="VERSION", help="which release (default: the one in force)"
    )
    for each in (releases, verify, rollback, export, explain):
        each.add_argument(
            "--lake",
            metavar="URL",
            default=os.environ.get("FB_LAKE") or "data",
            help="a path or a URL such as s3://… (default: FB_LAKE, else data)",
        )


def execute(command: str, chosen: argparse.Namespace) -> None:
    """Execute one of the commands.

    Raises:
        ReleaseError: why it cannot be done, in one line.
        UnknownProductError: a release has no such listing.
    """
    _COMMANDS[command](chosen)


def _releases(chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.history import format_table, list_releases

    listed = list_releases(chosen.lake)
    if chosen.json:
        _tell(json.dumps([each.as_json() for each in listed], indent=2))
    else:
        _tell("\n".join(format_table(listed)))


def _verify(chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import verify

    manifest = verify(chosen.lake, chosen.version, _tell)
    _tell(f"fb-serve: release {manifest.version} in {chosen.lake} is whole")


def _rollback(chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import rollback

    before: PointerState = rollback(chosen.lake, chosen.version)
    if before.version == chosen.version:
        _tell(f"fb-serve: release {chosen.version} is in force already")
    else:
        _tell(f"fb-serve: from release {before.version or 'none'} to {chosen.version}")


def _export(chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.admin import export

    manifest = export(chosen.lake, chosen.folder, chosen.version, _tell)
    _tell(
        f"fb-serve: release {manifest.version} is in {chosen.folder}; serve it with "
        f"`fb-serve run --lake {chosen.folder}`"
    )


def _explain(chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.provenance_report import explain

    _tell("\n".join(explain(chosen.lake, chosen.product, chosen.release)))


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "releases": _releases,
    "verify": _verify,
    "rollback": _rollback,
    "export": _export,
    "explain": _explain,
}
