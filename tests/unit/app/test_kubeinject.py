"""Manifests that are injected as a whole."""

from pathlib import Path

import pytest

from tidegate.app.kubeinject import inject_files, printed, told
from tidegate.inject.context import Place
from tidegate.inject.objects import Result
from tidegate.inject.settings import settings
from tidegate.inject.workloads import pod_of
from tidegate.kit.errors import TidegateError

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: app, image: app}]}
"""
CONFIG = """
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: few}
spec: {concurrency: 3}
"""


def results(folder: Path, *texts: str, namespace: str = "") -> list[Result]:
    (folder / "all.yaml").write_text("---".join(texts))
    return inject_files(str(folder / "all.yaml"), settings(), Place(namespace=namespace))


def proxy_config(result: Result) -> str:
    found = pod_of(result.object)
    assert found is not None
    everyone = [*found.pod["spec"]["containers"], *found.pod["spec"]["initContainers"]]
    proxy = next(each for each in everyone if each["name"] == "istio-proxy")
    return next(str(each["value"]).strip() for each in proxy["env"] if each["name"] == "PROXY_CONFIG")


@pytest.mark.parametrize("namespace", ["", "shop"])
def test_a_proxy_config_of_the_same_input_holds_wherever_it_stands(tmp_path: Path, namespace: str) -> None:
    pod, config = results(tmp_path, POD, CONFIG, namespace=namespace)
    assert proxy_config(pod) == '{"concurrency":3}'
    assert "kind: ProxyConfig" in printed([config])
    assert "namespace" not in printed([config])
    assert told([config]) == []


def test_that_of_another_namespace_does_not(tmp_path: Path) -> None:
    away = CONFIG.replace("name: few", "name: few, namespace: away")
    assert proxy_config(results(tmp_path, away, POD)[1]) == "{}"


def test_another_groups_kind_of_the_name_is_left_alone(tmp_path: Path) -> None:
    other = CONFIG.replace("networking.istio.io", "example.com").replace("3", "none")
    assert proxy_config(results(tmp_path, other, POD)[1]) == "{}"


def test_a_wrong_one_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"all\.yaml:\d+: .*spec\.concurrency"):
        results(tmp_path, POD, CONFIG.replace("3", "-1"))
    with pytest.raises(TidegateError, match="metadata"):
        results(tmp_path, CONFIG.replace("{name: few}", "few"))


def test_a_field_that_there_is_not_is_told(tmp_path: Path) -> None:
    made = results(tmp_path, CONFIG.replace("concurrency", "concurency"), POD)
    assert told(made) == ['warning: ProxyConfig "few": unknown field "spec.concurency"']
