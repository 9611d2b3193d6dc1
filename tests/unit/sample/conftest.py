"""One small lake for all the tests that read it, drawn once and never changed."""

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from fb_marketplace.sample.bucket import MIN_PRODUCTS, generate_bucket

SEED = 7


@dataclass(frozen=True)
class DrawnLake:
    files: MappingProxyType[str, bytes]
    order: tuple[str, ...]
    truth: dict[str, Any]


@pytest.fixture(scope="session")
def lake() -> DrawnLake:
    files = dict(generate_bucket(MIN_PRODUCTS, SEED).files())
    return DrawnLake(
        MappingProxyType(files), tuple(files), json.loads(files["ground_truth.json"].decode())
    )
