import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fb_marketplace.ml.skops_io import dump_skops, load_skops

FIT = """
import hashlib
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from fb_marketplace.ml.skops_io import dump_skops

def fitted():
    words = TfidfVectorizer(dtype=np.float32, stop_words=["a"])
    words.fit(["a good sofa", "a bad file", "an __id__"])
    return dump_skops({"model": words, "weight": np.eye(2)})
"""
"""What both processes do."""


class Stranger:
    """A type that is in none of our files."""

    def __init__(self) -> None:
        self.said = "hello"


def test_model_round_trips():
    result = load_skops(
        dump_skops(
            {"file": "a name", "__id__": 3, "weight": np.eye(2), "twice": [1.5, 1.5, ("x",)]}
        )
    )

    assert (result.pop("weight") == np.eye(2)).all()
    assert result == {"file": "a name", "__id__": 3, "twice": [1.5, 1.5, ("x",)]}


def test_shared_array_stays_shared():
    weight = np.eye(3)

    result = load_skops(dump_skops([weight, weight, np.eye(3)]))

    assert result[0] is result[1]
    assert result[2] is not result[0]


def test_dump_is_deterministic_across_processes():
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{FIT}\nprint(hashlib.sha256(fitted()).hexdigest())"],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here: dict[str, Any] = {}
    exec(FIT, here)

    assert hashlib.sha256(here["fitted"]()).hexdigest() == elsewhere


def test_untrusted_type_is_rejected():
    from skops.io.exceptions import UntrustedTypesFoundException

    with pytest.raises(UntrustedTypesFoundException, match="Stranger"):
        load_skops(dump_skops({"model": Stranger()}))
