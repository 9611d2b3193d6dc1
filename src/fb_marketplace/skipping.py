"""Nodes that are skipped because the market has too little data for them, such as no photos or prices."""

from dataclasses import dataclass

from fb_marketplace.errors import UserError


class InsufficientDataError(UserError):
    """Raised by a node whose input is insufficient. The message is the reason.

    The runner skips the node and every node that needs one of its outputs. A node that can do without an
    input accepts :class:`Skipped` for it: ``ranker: FileRef | Skipped``.
    """


@dataclass(frozen=True, slots=True)
class Skipped:
    """An output of a skipped node.

    Attributes:
        reason: why the node was skipped.
    """

    reason: str
