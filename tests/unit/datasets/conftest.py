import pytest
from kedro.io import Version

FIRST = "2026-01-01T00.00.00.000Z"
SECOND = "2026-01-02T00.00.00.000Z"


@pytest.fixture
def first():
    """The version of a run that loads its own outputs."""
    return Version(FIRST, FIRST)


@pytest.fixture
def second():
    return Version(SECOND, SECOND)
