"""The pages /docs and /redoc, without another host."""

import pytest


@pytest.mark.parametrize(
    ("page", "text"), [("docs", "Search By Photo"), ("redoc", "Search by text and filters")]
)
def test_documentation_is_rendered_from_this_host_only(browser, shop_server, expect, page, text):
    tab = browser.new_page()
    hosts, errors = set(), []
    tab.on("response", lambda response: hosts.add("/".join(response.url.split("/")[:3])))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{shop_server}/{page}")

    expect(tab.get_by_text(text).first).to_be_visible()
    assert {host for host in hosts if host.startswith("http")} == {shop_server}
    assert not errors
    tab.close()
