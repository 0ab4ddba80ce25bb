"""Pods for tests of injection, and what they come to."""

from typing import Any

from tidegate.inject.context import Place
from tidegate.inject.pod import Injected, inject
from tidegate.inject.settings import Json, Settings, settings
from tidegate.inject.workloads import Workload

WEB = Workload("apps/v1", "Deployment", "web", "shop")


def pod(annotations: Json | None = None, *containers: Json, **spec: Any) -> Json:
    made = containers or ({"name": "app", "image": "app", "ports": [{"name": "http", "containerPort": 8080}]},)
    return {
        "metadata": {"labels": {"app": "web"}, "annotations": annotations or {}},
        "spec": {"containers": list(made), **spec},
    }


def injected(given: Json, made: Settings | None = None, place: Place | None = None) -> Injected:
    return inject(given, WEB, made or settings(), place)


def container(result: Json, name: str) -> Json:
    parts = (*result["spec"].get("containers", ()), *result["spec"].get("initContainers", ()))
    return next(each for each in parts if each["name"] == name)


def variables(result: Json) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(result, "istio-proxy")["env"]}


def names(result: Json, part: str) -> list[str]:
    return [each["name"] for each in result["spec"].get(part, ())]
