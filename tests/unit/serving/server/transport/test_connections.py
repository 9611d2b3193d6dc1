"""Number of connections that fit a limit on open files."""

import resource

import pytest

from fb_marketplace_serving.server.transport import connections
from fb_marketplace_serving.server.transport.connections import fit_open_files


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "expected"),
    [
        (1024, 500_000, 1768, (1000, 442)),
        (1024, 1024, 1024, (512, 256)),
        (500_000, 500_000, 500_000, (1000, 512)),
        (100, 100, 100, (1, 25)),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, (1000, 442)),
    ],
)
def test_connections_fit_the_limit_on_open_files(monkeypatch, soft, hard, raised, expected):
    current = [soft, hard]
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: tuple(current))
    monkeypatch.setattr(
        connections.resource, "setrlimit", lambda _, limits: current.__setitem__(0, limits[0])
    )

    assert fit_open_files(1000) == expected
    assert current[0] == raised
