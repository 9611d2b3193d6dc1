"""Every parameter model refuses a renamed key."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from fb_marketplace.parameters.base import Parameters


class Tree(Parameters):
    renamed: ClassVar = {"rate": "learning_rate"}

    learning_rate: float


def test_renamed_key_is_refused_with_its_new_name():
    with pytest.raises(ValidationError, match="`rate` is now `learning_rate`"):
        Tree.model_validate({"rate": 0.1})


def test_current_key_is_accepted():
    assert Tree.model_validate({"learning_rate": 0.1}).learning_rate == 0.1
