"""ProxyConfig objects: which of them hold for a pod, and what wins over what."""

from typing import Any

import pytest

from tests.unit.inject.pods import container, injected, pod, variables
from tidegate.api import decode
from tidegate.api.objects import Object
from tidegate.inject import proxyconfigs
from tidegate.inject.context import Place
from tidegate.inject.settings import Json, settings

ROOT = "istio-system"
WEB = {"app": "web"}


def config(name: str, namespace: str = "shop", created: str = "", **spec: Any) -> Object[Any]:
    meta = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return decode.stored(
        {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "metadata": meta, "spec": spec}
    )


def said(*configs: Object[Any], namespace: str = "shop", labels: Json | None = None) -> Json:
    return proxyconfigs.of_pod(configs, ROOT, namespace, WEB if labels is None else labels).joined({}, {})


def selecting(**labels: str) -> Json:
    return {"matchLabels": labels}


def test_the_words_are_those_of_the_mesh() -> None:
    spec = {"concurrency": 0, "environmentVariables": {"A": "1"}, "image": {"imageType": "debug"}}
    assert said(config("one", **spec)) == {
        "concurrency": 0,
        "proxyMetadata": {"A": "1"},
        "image": {"imageType": "debug"},
    }
    assert said(config("one", image={})) == {}


@pytest.mark.parametrize(
    ("one", "other", "wins"),
    [
        (config("a", ROOT, concurrency=1), config("b", concurrency=2), 2),
        (config("a", concurrency=1), config("b", selector=selecting(app="web"), concurrency=2), 2),
        (config("a", concurrency=1), config("b", selector=selecting(app="other"), concurrency=2), 1),
        (config("a", concurrency=1), config("b", selector=selecting(app="web", tier="x"), concurrency=2), 1),
        (config("a", concurrency=1), config("b", "elsewhere", concurrency=2), 1),
        (config("a", concurrency=1), config("b", ROOT, selector=selecting(app="web"), concurrency=2), 1),
        (config("a", concurrency=1), config("b", selector={}, concurrency=2), 1),
        (config("z", created="2026-01-01T00:00:00Z", concurrency=1), config("a", concurrency=2), 2),
        (
            config("a", created="2026-01-02T00:00:00Z", concurrency=1),
            config("b", created="2026-01-01T00:00:00Z", concurrency=2),
            2,
        ),
    ],
)
def test_the_nearest_and_of_one_reach_the_oldest_wins(one: Object[Any], other: Object[Any], wins: int) -> None:
    assert said(one, other) == said(other, one) == {"concurrency": wins}


def test_of_one_reach_only_one_counts() -> None:
    older = config("a", created="2026-01-01T00:00:00Z", environmentVariables={"A": "1"})
    assert said(older, config("b", created="2026-01-02T00:00:00Z", environmentVariables={"B": "1"})) == {
        "proxyMetadata": {"A": "1"}
    }


def test_variables_of_every_reach_are_joined() -> None:
    found = said(
        config("mesh", ROOT, environmentVariables={"A": "mesh", "B": "mesh", "C": "mesh"}),
        config("namespace", environmentVariables={"B": "namespace", "C": "namespace"}),
        config("workload", selector=selecting(app="web"), environmentVariables={"C": "workload"}),
    )
    assert found == {"proxyMetadata": {"A": "mesh", "B": "namespace", "C": "workload"}}


def test_the_root_namespaces_own_pods_have_its_selecting_one() -> None:
    configs = config("a", ROOT, concurrency=1), config("b", ROOT, selector=selecting(app="web"), concurrency=2)
    assert said(*configs, namespace=ROOT) == {"concurrency": 2}
    assert said(*configs, namespace=ROOT, labels={}) == {"concurrency": 1}


def told(annotation: str, *configs: Object[Any], mesh: Json | None = None) -> str:
    given = pod({"proxy.istio.io/config": annotation} if annotation else None)
    made = settings({}, {"defaultConfig": mesh or {}})
    return variables(injected(given, made, Place(proxy_configs=configs)).pod)["PROXY_CONFIG"].strip()


def test_the_annotation_is_between_the_namespaces_and_the_workloads() -> None:
    wide, own = config("wide", concurrency=1), config("own", selector=selecting(app="web"), concurrency=3)
    assert told("", wide, mesh={"concurrency": 5}) == '{"concurrency":1}'
    assert told("concurrency: 2", wide) == '{"concurrency":2}'
    assert told("concurrency: 2", wide, own) == '{"concurrency":3}'


def test_an_annotation_that_says_nothing_of_variables_leaves_them() -> None:
    variables_ = config("a", environmentVariables={"A": "1"})
    assert told("proxyMetadata: {}", variables_) == '{"proxyMetadata":{"A":"1"}}'


def test_variables_and_image_reach_the_container() -> None:
    configs = (
        config("a", environmentVariables={"ISTIO_META_DNS_CAPTURE": "true"}),
        config("b", selector=selecting(app="web"), image={"imageType": "distroless"}),
    )
    made = injected(pod(), settings({"global": {"tag": "1"}}), Place(proxy_configs=configs)).pod
    assert variables(made)["ISTIO_META_DNS_CAPTURE"] == "true"
    assert container(made, "istio-proxy")["image"].endswith(":1-distroless")


def test_another_root_namespace() -> None:
    configs = (config("a", "mesh", concurrency=7), config("b", ROOT, concurrency=8))
    made = injected(pod(), settings({}, {"rootNamespace": "mesh"}), Place(proxy_configs=configs)).pod
    assert variables(made)["PROXY_CONFIG"] == '{"concurrency":7}\n'
