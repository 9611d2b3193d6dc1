import copy

import pytest
from pydantic import ValidationError

from fb_marketplace.parameters.cleaning import CleaningParameters, SplitParameters


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ((), "missing", "missing_values"),
        (("products",), "required", "required_columns"),
        (("images",), "ignored", "ignored_columns"),
        (("text",), "title_tail", "title_suffix_pattern"),
    ],
)
def test_cleaning_parameters_refuse_old_name(base_parameters, path, old, new):
    values = copy.deepcopy(base_parameters["cleaning"])
    section = values
    for name in path:
        section = section[name]
    section[old] = section.pop(new)

    with pytest.raises(ValidationError, match=f"`{old}` is now `{new}`"):
        CleaningParameters.model_validate(values)


def test_split_parameters_refuse_old_name(base_parameters):
    values = dict(base_parameters["splits"])
    values["shared_description_words"] = values.pop("min_words_for_duplicate_description")

    with pytest.raises(ValidationError, match="`min_words_for_duplicate_description`"):
        SplitParameters.model_validate(values)
