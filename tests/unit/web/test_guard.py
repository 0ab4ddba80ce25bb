"""Who gets in: the link once, then the cookie, only under the console's own address, only to read."""

from collections.abc import Iterator

import pytest

from tests.unit.web.caller import PORT, Browser, Mesh
from tidegate.web.guard import Keys
from tidegate.web.pages import console


@pytest.fixture
def keys() -> Keys:
    return Keys(PORT)


@pytest.fixture
def app(keys: Keys) -> Iterator[object]:
    mesh = Mesh()
    mesh.plane["/debug/syncz"] = b"[]"
    yield console(mesh.sources(), keys)


async def test_the_link_gives_a_cookie_that_lets_in(app: object, keys: Keys) -> None:
    browser = Browser(app)
    answer = await browser.ask(f"/?token={keys.token}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert {"httponly", "samesite=strict", "path=/"} <= set(answer.headers["set-cookie"].lower().split("; "))
    assert "No proxies are connected" in await browser.page("/")


async def test_the_link_opens_once(app: object, keys: Keys) -> None:
    link = f"/?token={keys.token}"
    assert (await Browser(app).ask(link)).status == 303
    second = await Browser(app).ask(link)
    assert (second.status, "set-cookie" in second.headers) == (401, False)


@pytest.mark.parametrize("url", ["/", "/?token=", "/?token=wrong", "/?token=%FF", "/services", "/static/console.js"])
async def test_without_the_link_nothing_is_told(app: object, url: str) -> None:
    answer = await Browser(app).ask(url)
    assert answer.status == 401
    assert "tidegate dashboard" in answer.text


async def test_the_link_counts_on_the_first_page_alone(app: object, keys: Keys) -> None:
    assert (await Browser(app).ask(f"/services?token={keys.token}")).status == 401
    assert keys.token is not None


@pytest.mark.parametrize("cookie", ["tidegate-console-15080=wrong", "tidegate-console-15080", "=;=", '"', "a" * 9000])
async def test_a_wrong_cookie_is_none(app: object, cookie: str) -> None:
    browser = Browser(app)
    browser.cookie = cookie
    assert (await browser.ask("/")).status == 401


async def test_the_cookie_of_another_console_is_none(app: object, keys: Keys) -> None:
    other = Keys(PORT)
    browser = Browser(app)
    browser.cookie = f"{other.cookie}={other.redeem(str(other.token))}"
    assert (await browser.ask("/")).status == 401


@pytest.mark.parametrize(
    "host", ["", "evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{PORT}.evil.example"]
)
async def test_another_host_is_refused_even_with_the_link(app: object, keys: Keys, host: str) -> None:
    """DNS rebinding: a page of another site that has its name point here."""
    assert (await Browser(app, host).ask(f"/?token={keys.token}")).status == 421
    assert keys.token is not None, "the link is still good"


async def test_two_host_headers_are_refused(app: object) -> None:
    assert (await Browser(app).ask("/", "GET", ("host", f"127.0.0.1:{PORT}"))).status == 421


async def test_localhost_is_this_machine_too(app: object, keys: Keys) -> None:
    assert (await Browser(app, f"localhost:{PORT}").ask(f"/?token={keys.token}")).status == 303


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
async def test_it_only_reads(app: object, keys: Keys, method: str) -> None:
    browser = Browser(app)
    await browser.ask(f"/?token={keys.token}")
    answer = await browser.ask("/", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("url", ["/", "/nothing", "/static/console.css"])
async def test_every_answer_forbids_what_is_not_its_own(app: object, keys: Keys, url: str) -> None:
    browser = Browser(app)
    for answer in (await browser.ask(url), await browser.ask(f"/?token={keys.token}"), await browser.ask(url)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
