"""The pages, from answers as the control plane and Envoy give them."""

import html
import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.web.caller import Browser, Mesh
from tidegate.web import tables
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

ADMIN = "type.googleapis.com/envoy.admin.v3."
NETWORK = "type.googleapis.com/envoy.extensions.filters.network."
HCM = NETWORK + "http_connection_manager.v3.HttpConnectionManager"
TCP = NETWORK + "tcp_proxy.v3.TcpProxy"
WEB = "outbound|80||web.shop.svc.cluster.local"
HOSTILE = """"><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}"""


def proxy(name: str = "client.front", **states: str) -> dict[str, Any]:
    kinds = {"cds": CLUSTER, "lds": LISTENER, "rds": ROUTE, "eds": ENDPOINT}
    resources = {kinds[each]: {"sent": "1", "state": state, "quarantined": []} for each, state in states.items()}
    return {"proxy": name, "cluster_id": "Kubernetes", "istio_version": "0.1.0", "resources": resources}


def refusing(name: str, error: str, *origins: str) -> dict[str, Any]:
    found = proxy("client.front", cds="ERROR")
    found["resources"][CLUSTER] |= {
        "lastError": "refused",
        "quarantined": [{"name": name, "version": "1", "error": error, "origins": list(origins)}],
    }
    return found


def chain(kind: str, **config: Any) -> dict[str, Any]:
    return {"filters": [{"name": "x", "typed_config": {"@type": kind, **config}}]}


def listener(name: str, port: int, *chains: dict[str, Any]) -> dict[str, Any]:
    address = {"socket_address": {"address": "10.0.0.9", "port_value": port}}
    return {"listener": {"name": name, "address": address, "filter_chains": list(chains)}}


def route(name: str, *routes: dict[str, Any], domain: str = "web.shop") -> dict[str, Any]:
    host = {"name": f"{domain}:80", "domains": [domain], "routes": list(routes)}
    return {"route_config": {"name": name, "virtual_hosts": [host]}}


def dump(
    listeners: list[dict[str, Any]], routes: list[dict[str, Any]] | None = None, clusters: list[str] | None = None
) -> bytes:
    named = [{"cluster": {"name": each, "type": "EDS"}} for each in clusters or []]
    configs = [
        {"@type": f"{ADMIN}ListenersConfigDump", "static_listeners": listeners},
        {"@type": f"{ADMIN}RoutesConfigDump", "dynamic_route_configs": routes or []},
        {"@type": f"{ADMIN}ClustersConfigDump", "dynamic_active_clusters": named},
    ]
    return json.dumps({"configs": configs}).encode()


def statuses(**addresses: str) -> bytes:
    host = {"health_status": {"eds_health_status": "HEALTHY"}}
    found = [
        {"name": name, "host_statuses": [{"address": {"socket_address": {"address": ip, "port_value": 80}}, **host}]}
        for name, ip in addresses.items()
    ]
    return json.dumps({"cluster_statuses": found}).encode()


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh()
    made.plane["/debug/syncz"] = json.dumps([proxy(cds="SYNCED", lds="STALE", eds="NOT SENT")]).encode()
    made.plane["/debug/registryz"] = b'{"total": 0, "services": [], "problems": []}'
    made.names = ["client.front"]
    show(made, dump([listener("web", 80, chain(HCM, rds={"route_config_name": "80"}))]))
    return made


def show(mesh: Mesh, config: bytes, clusters: bytes = b"{}", name: str = "client.front") -> None:
    mesh.envoys[name, "config_dump"], mesh.envoys[name, "clusters?format=json"] = config, clusters


def rows(page: str, section: str) -> list[list[str]]:
    """The text of the cells of a section's table."""
    part = re.search(rf'<section id="{section}".*?</section>', page, re.S)
    assert part, f"no section {section}"
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", part.group(), re.S)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line, re.S) for line in lines]
    return [[html.unescape(" ".join(re.sub(r"<[^>]+>", " ", c).split())) for c in line] for line in cells[1:]]


class TestProxies:
    async def test_sync_state_by_type(self, mesh: Mesh) -> None:
        browser = await mesh.signed_in()
        wanted = ["client.front", "SYNCED", "STALE", "not asked for", "NOT SENT", "Kubernetes", "0.1.0"]
        assert rows(await browser.page("/"), "proxies") == [wanted]

    async def test_only_proxies_of_this_machine_are_links(self, mesh: Mesh) -> None:
        mesh.plane["/debug/syncz"] = json.dumps([proxy("far.front"), proxy()]).encode()
        page = await (await mesh.signed_in()).page("/")
        assert re.findall(r'href="(/proxies/[^"]*)"', page) == ["/proxies/client.front"]
        assert [row[0] for row in rows(page, "proxies")] == ["client.front", "far.front"]

    async def test_a_proxy_that_is_not_connected_is_still_shown(self, mesh: Mesh) -> None:
        mesh.plane["/debug/syncz"] = b"[]"
        page = await (await mesh.signed_in()).page("/")
        assert rows(page, "proxies")[0][:2] == ["client.front", "not connected to the control plane"]

    async def test_what_was_refused_names_error_and_objects(self, mesh: Mesh) -> None:
        origin = "DestinationRule/shop/web spec.trafficPolicy"
        mesh.plane["/debug/syncz"] = json.dumps([refusing(WEB, "no such ring", origin)]).encode()
        page = await (await mesh.signed_in()).page("/")
        assert rows(page, "refused") == [["client.front", "CDS", WEB, "no such ring", origin]]

    async def test_nothing_yet_says_what_to_do(self, mesh: Mesh) -> None:
        mesh.names, mesh.plane["/debug/syncz"] = [], b"[]"
        assert "tidegate lab up" in await (await mesh.signed_in()).page("/")

    async def test_a_filter_keeps_what_it_names(self, mesh: Mesh) -> None:
        mesh.plane["/debug/syncz"] = json.dumps([proxy("far.front"), proxy()]).encode()
        browser = await mesh.signed_in()
        assert [row[0] for row in rows(await browser.page("/?q=FAR"), "proxies")] == ["far.front"]
        assert "Show all 2" in await browser.page("/?q=nobody")

    @pytest.mark.parametrize("answer", [None, b"", b"{}", b"[1]", b"\xff", b'[{"proxy": {}}]'])
    async def test_a_control_plane_that_does_not_answer_is_told(self, mesh: Mesh, answer: bytes | None) -> None:
        if answer is None:
            del mesh.plane["/debug/syncz"]
        else:
            mesh.plane["/debug/syncz"] = answer
        page = await (await mesh.signed_in()).page("/")
        assert 'role="alert"' in page
        assert "/debug/syncz" in page
        assert rows(page, "proxies")[0][0] == "client.front"


class TestServices:
    SERVICE = {
        "host": "web.shop.svc.cluster.local",
        "namespace": "shop",
        "registry": "Kubernetes",
        "resolution": "ClientSideLB",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 81, "name": "x", "protocol": ""}],
        "addresses": ["10.96.0.1"],
        "endpoints": 2,
        "sources": ["Service/shop/web"],
        "virtualServices": ["VirtualService/shop/web", "VirtualService/front/mine"],
        "destinationRules": [],
    }

    def given(self, mesh: Mesh, *services: dict[str, Any], **more: Any) -> None:
        found = {"total": len(services), "services": services, "problems": [], **more}
        mesh.plane["/debug/registryz"] = json.dumps(found).encode()

    async def test_who_decides_a_service(self, mesh: Mesh) -> None:
        self.given(mesh, self.SERVICE)
        page = await (await mesh.signed_in()).page("/services")
        where = ["web.shop.svc.cluster.local", "shop", "80 HTTP 81 detected", "10.96.0.1", "ClientSideLB", "2"]
        by = ["Service/shop/web", "VirtualService/shop/web VirtualService/front/mine", "-"]
        assert rows(page, "services") == [[*where, *by]]

    async def test_objects_left_out_are_told_with_the_reason(self, mesh: Mesh) -> None:
        self.given(mesh, problems=[{"object": "ServiceEntry/front/x", "reasons": ["spec.ports: expected one"]}])
        page = await (await mesh.signed_in()).page("/services")
        assert rows(page, "problems") == [["ServiceEntry/front/x", "spec.ports: expected one"]]

    async def test_the_control_plane_does_the_search(self, mesh: Mesh) -> None:
        browser = await mesh.signed_in()
        assert "contains “a&amp;b”" in await browser.page("/services?q=a%26b")
        assert mesh.asked[-1] == "/debug/registryz?search=a%26b&limit=200"

    async def test_no_service_yet_says_what_to_do(self, mesh: Mesh) -> None:
        assert "Apply a Service or a ServiceEntry" in await (await mesh.signed_in()).page("/services")

    async def test_more_than_are_shown_are_told(self, mesh: Mesh) -> None:
        self.given(mesh, self.SERVICE, total=9000)
        assert "The first 1 of 9000" in await (await mesh.signed_in()).page("/services")


class TestProxy:
    def given(self, mesh: Mesh) -> None:
        weighted = {"clusters": [{"name": WEB, "weight": 90}, {"name": "gone", "weight": 10}]}
        listeners = [
            listener("web", 80, chain(HCM, rds={"route_config_name": "80"})),
            listener("db", 90, chain(TCP, cluster=WEB)),
        ]
        routes = [
            route(
                "80",
                {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}},
                {"match": {"path": "/no"}, "direct_response": {"status": 503}},
            )
        ]
        show(mesh, dump(listeners, routes, [WEB, "idle"]), statuses(**{WEB: "10.0.0.1"}))

    async def test_tables(self, mesh: Mesh) -> None:
        self.given(mesh)
        page = await (await mesh.signed_in()).page("/proxies/client.front")
        assert rows(page, "listener") == [["web", "10.0.0.9", "80", "ALL", "80"], ["db", "10.0.0.9", "90", "ALL", WEB]]
        head = ["80", "web.shop:80", "web.shop"]
        assert rows(page, "route") == [
            [*head, "/*", "-", f"{WEB} 90/100 gone 10/100"],
            [*head, "/no", "-", "answers 503"],
        ]
        host = "web.shop.svc.cluster.local"
        assert rows(page, "cluster") == [
            ["idle", "idle", "-", "-", "-", "EDS", "-", "no endpoints"],
            [WEB, host, "80", "-", "outbound", "EDS", "-", "endpoints 1"],
        ]
        assert rows(page, "endpoint") == [["10.0.0.1:80", "HEALTHY", "OK", WEB]]

    async def test_every_link_leads_to_a_row(self, mesh: Mesh) -> None:
        self.given(mesh)
        page = await (await mesh.signed_in()).page("/proxies/client.front")
        links = re.findall(r'<td>.*?href="#([^"]+)"', page)
        assert {link.partition("-")[0] for link in links} == {"route", "cluster", "endpoint"}
        assert all(page.count(f'id="{link}"') == 1 for link in links)
        assert "#cluster-gone" not in page, "a cluster that is not there is no link"

    async def test_a_link_out_of_the_filter_leads_to_a_search(self, mesh: Mesh) -> None:
        self.given(mesh)
        browser = await mesh.signed_in()
        page = await browser.page("/proxies/client.front?q=10.0.0.9")
        assert "outbound" not in page.partition('<section id="cluster"')[2], "its cluster is not shown"
        (link,) = re.findall(r'href="(\?q=80#[^"]*)"', page)
        assert link == "?q=80#route-80"
        assert 'id="route-80"' in await browser.page(f"/proxies/client.front{link.partition('#')[0]}")

    async def test_more_rows_than_are_shown_are_told(self, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "MAX_ROWS", 1)
        self.given(mesh)
        page = await (await mesh.signed_in()).page("/proxies/client.front")
        assert len(rows(page, "listener")) == 1
        assert "The first 1 rows of 2" in page

    async def test_what_has_just_the_name_comes_first(self, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "MAX_ROWS", 1)
        show(mesh, dump([], [route("18080", {"match": {"path": "/"}}), route("80", {"match": {"path": "/"}})]))
        page = await (await mesh.signed_in()).page("/proxies/client.front?q=80")
        assert 'id="route-80"' in page

    @pytest.mark.parametrize("name", ["nobody.front", "..", "../client.front", "a/b"])
    async def test_only_proxies_of_this_machine_are_asked(self, mesh: Mesh, name: str) -> None:
        answer = await (await mesh.signed_in()).ask(f"/proxies/{name}")
        assert answer.status == 404 or "No proxy of this name" in answer.text

    @pytest.mark.parametrize("config", [None, b"", b"[]", b'{"configs": []}', b"\xff", b'{"configs": [{"@type": 1}]}'])
    async def test_an_envoy_that_does_not_answer_is_told(self, mesh: Mesh, config: bytes | None) -> None:
        if config is None:
            mesh.envoys.clear()
        else:
            show(mesh, config)
        assert 'role="alert"' in await (await mesh.signed_in()).page("/proxies/client.front")

    async def test_a_control_plane_that_is_gone_leaves_the_tables(self, mesh: Mesh) -> None:
        del mesh.plane["/debug/syncz"]
        page = await (await mesh.signed_in()).page("/proxies/client.front")
        assert "not connected to the control plane" in page
        assert rows(page, "listener")[0][0] == "web"


class TestHostileNames:
    """Names come from YAML that others wrote, and from what proxies answer."""

    def harmless(self, page: str) -> bool:
        body = page.replace('<script src="/static/console.js" defer></script>', "")
        shown = "{{ 7*7 }}" in body
        return shown and "<script" not in body and "<img src=x" not in body

    async def test_on_the_proxies_page(self, mesh: Mesh) -> None:
        mesh.names = [HOSTILE]
        found = [refusing(HOSTILE, HOSTILE, HOSTILE) | {"proxy": HOSTILE, "cluster_id": HOSTILE}]
        mesh.plane["/debug/syncz"] = json.dumps(found).encode()
        assert self.harmless(await (await mesh.signed_in()).page("/"))

    async def test_on_the_services_page(self, mesh: Mesh) -> None:
        service = {"host": HOSTILE, "sources": [HOSTILE], "ports": [{"number": 1, "protocol": HOSTILE}]}
        problem = {"object": HOSTILE, "reasons": [HOSTILE]}
        found = {"total": 1, "services": [service], "problems": [problem]}
        mesh.plane["/debug/registryz"] = json.dumps(found).encode()
        assert self.harmless(await (await mesh.signed_in()).page("/services"))

    async def test_on_a_proxy_s_page(self, mesh: Mesh) -> None:
        routes = [route(HOSTILE, {"match": {"path": HOSTILE}, "route": {"cluster": HOSTILE}}, domain=HOSTILE)]
        listeners = [listener(HOSTILE, 1, chain(HCM, rds={"route_config_name": HOSTILE}))]
        show(mesh, dump(listeners, routes, [HOSTILE]), statuses(**{HOSTILE: HOSTILE}))
        page = await (await mesh.signed_in()).page("/proxies/client.front")
        assert self.harmless(page)
        links = re.findall(r'<td>.*?href="#([^"]+)"', page)
        assert len(links) == 3
        assert all(page.count(f'id="{link}"') == 1 for link in links)

    async def test_in_a_search(self, mesh: Mesh) -> None:
        browser = await mesh.signed_in()

        for path in ("/", "/services", "/proxies/client.front"):
            assert self.harmless(await browser.page(f"{path}?q={quote(HOSTILE)}"))


class TestFollowing:
    async def test_a_page_that_stays_the_same_is_not_sent_again(self, mesh: Mesh) -> None:
        browser = await mesh.signed_in()
        tag = (await browser.ask("/")).headers["etag"]
        again = await browser.ask("/", "GET", ("if-none-match", tag))
        assert (again.status, again.text) == (304, "")

    async def test_a_change_is_sent(self, mesh: Mesh) -> None:
        browser = await mesh.signed_in()
        tag = (await browser.ask("/")).headers["etag"]
        mesh.plane["/debug/syncz"] = json.dumps([proxy(cds="ERROR")]).encode()
        again = await browser.ask("/", "GET", ("if-none-match", tag))
        assert again.status == 200
        assert "ERROR" in again.text

    @pytest.mark.parametrize(("name", "kind"), [("console.js", "javascript"), ("console.css", "text/css")])
    async def test_scripts_and_styles_are_its_own(self, mesh: Mesh, name: str, kind: str) -> None:
        browser = await mesh.signed_in()
        answer = await browser.ask(f"/static/{name}")
        assert (answer.status, kind in answer.headers["content-type"]) == (200, True)
        assert not re.search(r"https?://", answer.text), "nothing is fetched from elsewhere"

    async def test_every_section_has_an_id_to_be_replaced_by(self, mesh: Mesh) -> None:
        page = await page_of(await mesh.signed_in())
        sections = re.findall(r"<section ([^>]*)>", page)
        assert sections
        assert all("id=" in each for each in sections)


async def page_of(browser: Browser) -> str:
    return await browser.page("/proxies/client.front")
