"""The console in a real browser, over a real mesh: the link, the pages, and changes that appear by themselves."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.browser import NEEDS_BROWSER, Page, browser
from tests.lab.labs import NEEDS, PATIENCE, Lab, running_lab, until

pytestmark = [*NEEDS, NEEDS_BROWSER]

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: later, namespace: front}
spec:
  hosts: [later.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 8123, name: http, protocol: HTTP}]
  endpoints: [{address: 10.122.24.139}]
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: later, namespace: front}
spec: {host: later.example}
"""
CLUSTER = "outbound|8123||later.example"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        until(made.synced)
        yield made


@contextlib.contextmanager
def dashboard(lab: Lab) -> Iterator[str]:
    """The command; yields the link that it prints."""
    places = ("--run-dir", str(lab.folders.run), "--xds-address", f"http://127.0.0.1:{lab.port}")
    with subprocess.Popen(lab.command("dashboard", *places), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def home(lab: Lab, tab: Page) -> Iterator[str]:
    """The console's address; the tab has opened its link."""
    with dashboard(lab) as link:
        tab.open(link)
        yield link.partition("/?")[0]


def open_page(tab: Page, home: str, path: str) -> None:
    tab.open(f"{home}{path}")
    until(lambda: tab.text("#live"), lambda text: text == "Live" or text.startswith("Changed"))


def test_the_link_shows_the_proxies_and_leaves_no_token(tab: Page, home: str) -> None:
    assert tab.run("location.href") == f"{home}/"
    assert tab.run("document.cookie") == "", "the cookie is none of a script's business"
    cells = tab.run("[...document.querySelectorAll('#proxies tbody tr')].map(row => row.innerText.split(/\\s+/))")
    assert [row[0] for row in cells] == ["client.front", "v1.shop", "v2.shop"]
    assert all(row[1:5] == ["SYNCED"] * 4 for row in cells)


def test_a_service_appears_changes_and_goes_without_a_reload(lab: Lab, tab: Page, home: str) -> None:
    open_page(tab, home, "/services")
    tab.run("window.same = true")
    assert "web.shop.svc.cluster.local" in tab.text("#services")
    with lab.applied(ENTRY):
        until(lambda: tab.text("#services"), lambda text: "ServiceEntry/front/later" in text)
        with lab.applied(RULE):
            until(lambda: tab.text("#services"), lambda text: "DestinationRule/front/later" in text)
        until(lambda: tab.text("#services"), lambda text: "DestinationRule/front/later" not in text)
    until(lambda: tab.text("#services"), lambda text: "later.example" not in text)
    assert tab.run("window.same") is True, "the page was loaded once"
    assert tab.text("#live").startswith("Changed at")


def test_links_lead_from_listener_to_endpoint(lab: Lab, tab: Page, home: str) -> None:
    open_page(tab, home, "/proxies/client.front")
    tab.run("window.same = true")
    with lab.applied(ENTRY):
        until(lambda: tab.text("#listener"), lambda text: "0.0.0.0_8123" in text)
        until(lambda: tab.text("#endpoint"), lambda text: CLUSTER in text)
        follow(tab, "#listener", "0.0.0.0_8123", "8123")
        follow(tab, "#route", "later.example", CLUSTER)
        follow(tab, "#cluster", CLUSTER, "endpoints")
        assert "10.122.24.139:8123" in tab.text("tr:target")
    assert tab.run("window.same") is True


def follow(tab: Page, table: str, row: str, link: str) -> None:
    """Click a link in the row of a table that has some text; it leads to a row that is marked."""
    tab.run(
        f"[...document.querySelectorAll('{table} tbody tr')].filter(row => row.innerText.includes('{row}'))"
        f".flatMap(row => [...row.querySelectorAll('a')]).find(a => a.innerText === '{link}').click()"
    )
    until(lambda: tab.text("tr:target"))


def test_a_proxy_that_lost_the_control_plane_is_told(lab: Lab, tab: Page, home: str) -> None:
    open_page(tab, home, "/")
    with lab.killed("discovery"):
        until(lambda: tab.text(), lambda text: "does not answer" in text and "not connected" in text)
    until(lambda: tab.text(), lambda text: "does not answer" not in text and text.count("SYNCED") == 12)


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_refused(tab: Page, home: str, tmp_path: Path) -> None:
    for path in ("/", "/services", "/proxies/client.front"):
        open_page(tab, home, path)
    assert tab.requested
    assert {url for url in tab.requested if not url.startswith(f"{home}/")} == set()
    assert tab.complaints == []


def test_the_link_of_another_browser_is_spent(lab: Lab, tmp_path: Path, home: str) -> None:
    with browser(tmp_path) as other:
        other.open(f"{home}/")
        assert "tidegate dashboard" in other.text("body")
