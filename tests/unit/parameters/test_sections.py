import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.sections import RENAMED_SECTIONS, check_sections


@pytest.mark.parametrize(("old", "new"), RENAMED_SECTIONS.items())
def test_check_sections_refuses_old_name(old, new):
    with pytest.raises(UserError, match=f"`{old}` is now `{new}`"):
        check_sections({"vision": {}, old: {"seed": 1}})


def test_check_sections_accepts_new_names():
    check_sections(dict.fromkeys(RENAMED_SECTIONS.values(), 1))
