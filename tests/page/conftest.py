"""The page in headless Chromium, on the real server, with a release that takes seconds to make."""

import pytest
from support import chromium
from support.builders.chair_shop import KEY, MAX_UPLOAD_BYTES, publish_marketplace


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "page":
            item.add_marker(pytest.mark.external)


@pytest.fixture(scope="session")
def chairs(tmp_path_factory, colour_encoder):
    lake = tmp_path_factory.mktemp("chairs")
    publish_marketplace(lake, colour_encoder)
    return lake


@pytest.fixture(scope="session")
def server(chairs):
    with chromium.served(chairs, FB_MAX_UPLOAD_BYTES=str(MAX_UPLOAD_BYTES)) as address:
        yield address


@pytest.fixture(scope="session")
def shop(tmp_path_factory, colour_encoder):
    """Chairs that can be searched by words too."""
    lake = tmp_path_factory.mktemp("shop")
    publish_marketplace(lake, colour_encoder, searchable=True)
    return lake


@pytest.fixture(scope="session")
def shop_server(shop):
    with chromium.served(shop) as address:
        yield address


@pytest.fixture(scope="session")
def large_server(tmp_path_factory, colour_encoder):
    """A shop of more listings than are loaded without a click."""
    lake = tmp_path_factory.mktemp("large")
    publish_marketplace(lake, colour_encoder, searchable=True, stools=200)
    with chromium.served(lake) as address:
        yield address


@pytest.fixture(scope="session")
def feedback_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="session")
def listening_server(shop, feedback_folder):
    """Chairs, on a server that writes down searches and clicks."""
    with chromium.served(shop, FB_FEEDBACK_DIR=str(feedback_folder)) as address:
        yield address


@pytest.fixture
def expect():
    """Playwright's assertions, which wait."""
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def shop_page(open_page, shop_server):
    return open_page(shop_server)


@pytest.fixture(scope="session")
def locked_server(chairs):
    with chromium.served(chairs, FB_API_KEYS=f"shop:{KEY}") as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    try:
        chromium.path()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)
    with chromium.launched() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """Opens a page as a reader would; at the end sees that it kept to its host and made no error."""
    contexts, requested, wrong = [], [], []

    def open_(address, **options):
        settings = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"} | options
        context = browser.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(chromium.PATIENCE_MS)
        page = context.new_page()
        home = "/".join(address.split("/")[:3]) + "/"
        page.on("request", lambda request: requested.append((home, request.url)))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # A status that the page deals with is no error of the page; a refusal of its policy is.
        page.on(
            "console",
            lambda message: (
                wrong.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # answers that a test did not wait for
        context.close()
    assert wrong == []
    strangers = [url for home, url in requested if not url.startswith((home, "blob:", "data:"))]
    assert strangers == []


@pytest.fixture
def page(open_page, server):
    return open_page(server)
