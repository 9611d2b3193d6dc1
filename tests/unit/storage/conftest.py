import pytest
from support.builders.letter_rows import SCHEMA

from fb_marketplace.storage import keyed_table


@pytest.fixture
def url(tmp_path):
    url = str(tmp_path / "of letters.lance")
    keyed_table.ensure_table(url, SCHEMA)
    return url
