"""Scrapes led to the agent, and what it is told of the application's own statistics."""

import json

import pytest

from tests.unit.inject.pods import container, injected, pod, variables
from tidegate.inject import scrapes
from tidegate.inject.errors import InjectionError
from tidegate.inject.settings import Json, settings
from tidegate.kit.injected import SCRAPES

LED = {"prometheus.io/scrape": "true", "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}


def annotations(given: Json) -> Json:
    made: Json = given["metadata"]["annotations"]
    return {name: value for name, value in made.items() if name.startswith("prometheus")}


def told(given: Json) -> Json:
    found: Json = json.loads(variables(given)[SCRAPES])
    return found


def test_scrapes_go_to_the_agent_which_is_told_the_applications_own() -> None:
    made = injected(pod({"prometheus.io/scrape": "true", "prometheus.io/port": "9102"})).pod
    assert annotations(made) == LED
    assert told(made) == {"scrape": "true", "path": "", "port": "9102"}


def test_a_port_alone_asks_for_scrapes() -> None:
    assert told(injected(pod({"prometheus.io/port": "9102"})).pod) == {"scrape": "", "path": "", "port": "9102"}


def test_every_spelling_that_a_scraper_knows_is_replaced() -> None:
    given = {"prometheus.io.scrape": "true", "prometheus.io_port": "9102", "prometheus_io_path": "/own"}
    made = injected(pod(given)).pod
    assert annotations(made) == LED
    assert told(made) == {"scrape": "true", "path": "/own", "port": "9102"}


@pytest.mark.parametrize("name", ["prometheus.io/scrape", "prometheus.io.scrape"])
def test_a_pod_that_wants_no_scrapes_gets_none(name: str) -> None:
    made = injected(pod({name: "false", "prometheus.io/port": "15090"})).pod
    assert annotations(made) == {name: "false", "prometheus.io/port": "15090"}
    assert SCRAPES not in variables(made)


def test_targets_are_told_each_by_each() -> None:
    given = {"prometheus.istio.io/scrape-targets": "8080:/one, 9090", "prometheus.io/port": "7070"}
    made = injected(pod(given)).pod
    targets = [{"port": "8080", "path": "/one"}, {"port": "9090", "path": "/metrics"}]
    assert told(made) == {"scrape": "", "path": "/one", "port": "8080", "targets": targets}
    assert annotations(made) == LED


@pytest.mark.parametrize("port", ["15090", "x", "0", "70000"])
def test_a_port_that_cannot_be_asked_is_refused(port: str) -> None:
    with pytest.raises(InjectionError, match="expected a port of the application"):
        injected(pod({"prometheus.io/port": port}))


def test_where_nothing_is_merged_any_port_is_the_authors() -> None:
    made = injected(pod({"prometheus.io/port": "15090"}), settings({}, {"enablePrometheusMerge": False})).pod
    assert annotations(made) == {"prometheus.io/port": "15090"}


def test_a_port_with_mutual_tls_is_told_to_scrapers() -> None:
    config = {"proxy.istio.io/config": "proxyMetadata: {ENVOY_SECURE_MERGED_METRICS_PORT: '15091'}"}
    assert annotations(injected(pod(config)).pod)["prometheus.istio.io/secure-port"] == "15091"
    own = config | {"prometheus.istio.io/secure-port": "1"}
    assert annotations(injected(pod(own)).pod)["prometheus.istio.io/secure-port"] == "1"


@pytest.mark.parametrize(
    "given",
    [
        {"prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.io/path": "/own"},
        {"prometheus.istio.io/scrape-targets": "8080:/one,9090:/metrics"},
        {},
    ],
)
def test_what_is_led_is_led_back(given: Json) -> None:
    once = injected(pod(given)).pod
    text = variables(once).get(SCRAPES, "")
    assert scrapes.restored(annotations(once), text) == given
    assert injected(once).pod == once


def test_the_application_has_no_variable_of_the_agents() -> None:
    made = injected(pod({"prometheus.io/port": "9102"})).pod
    assert "env" not in container(made, "app")
