"""Which Telemetry objects hold for a workload, and what they say together."""

from typing import Any

import pytest

from tests.worlds import made, world
from tidegate.api.telemetry import WorkloadMode
from tidegate.registry.model import labels_of
from tidegate.scope.telemetry import Logging, TracingSettings, access_logging, applicable, tracing

CLIENT, SERVER = WorkloadMode.CLIENT, WorkloadMode.SERVER
WEB = {"app": "web"}


def telemetry(where: str, *logging: dict[str, Any], day: int = 1, **spec: Any) -> Any:
    return made("Telemetry", where, day=day, accessLogging=list(logging), **spec)


def to(*providers: str, **more: Any) -> dict[str, Any]:
    return {"providers": [{"name": name} for name in providers], **more}


def holding(*objects: Any, labels: dict[str, str] = WEB) -> tuple[Any, ...]:
    found = world(*objects)
    return applicable(found.policies("Telemetry"), "istio-system", "shop", labels_of(labels))


def said(*objects: Any, mode: WorkloadMode = CLIENT, defaults: tuple[str, ...] = ()) -> dict[str, str] | None:
    found = access_logging(holding(*objects), defaults, mode)
    return None if found is None else {each.provider: each.expression for each in found}


class TestChoice:
    def test_the_root_comes_first_then_the_namespace_then_the_workload(self) -> None:
        objects = [
            telemetry("shop/mine", selector={"matchLabels": WEB}),
            telemetry("shop/all"),
            telemetry("istio-system/root"),
            telemetry("other/all"),
        ]
        assert [each.ref.name for each in holding(*objects)] == ["root", "all", "mine"]

    def test_the_oldest_of_a_level_counts(self) -> None:
        young, old = telemetry("shop/young", day=2), telemetry("shop/old", day=1)
        assert [each.ref.name for each in holding(young, old)] == ["old"]

    def test_one_that_selects_others_or_is_attached_to_something_does_not_hold(self) -> None:
        others = telemetry("shop/db", selector={"matchLabels": {"app": "db"}})
        attached = telemetry(
            "shop/gw", targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]
        )
        assert holding(others, attached) == ()
        labels = {"gateway.networking.k8s.io/gateway-name": "g"}
        assert [each.ref.name for each in holding(others, attached, labels=labels)] == ["gw"]


class TestAccessLogging:
    def test_nothing_is_said(self) -> None:
        assert said() is None
        assert said(telemetry("shop/all")) is None

    def test_the_meshs_default_counts_where_nothing_else_is_said(self) -> None:
        assert said(defaults=("envoy",)) == {"envoy": ""}
        assert said(telemetry("shop/all", to("json")), defaults=("envoy",)) == {"json": ""}

    def test_a_lower_level_that_names_providers_takes_over(self) -> None:
        root = telemetry("istio-system/root", to("a"))
        assert said(root, telemetry("shop/all", to("b"))) == {"b": ""}
        assert said(root, telemetry("shop/all", to("a", filter={"expression": "x > 1"}))) == {"a": "x > 1"}

    def test_an_entry_without_providers_changes_those_that_it_inherits(self) -> None:
        root = telemetry("istio-system/root", to("a", filter={"expression": "x"}))
        assert said(root, telemetry("shop/all", {})) == {"a": "x"}
        assert said(root, telemetry("shop/all", {"filter": {"expression": "y"}})) == {"a": "y"}
        assert said(root, telemetry("shop/all", {"disabled": True})) == {}

    def test_a_direction_is_told_apart(self) -> None:
        only = telemetry("shop/all", to("a", match={"mode": "SERVER"}), to("b", match={"mode": "CLIENT"}))
        assert said(only, mode=CLIENT) == {"b": ""}
        assert said(only, mode=SERVER) == {"a": ""}
        off = telemetry("shop/all", to("a"), to("a", match={"mode": "CLIENT"}, disabled=True))
        assert (said(off, mode=CLIENT), said(off, mode=SERVER)) == ({}, {"a": ""})

    def test_providers_come_by_name(self) -> None:
        found = access_logging(holding(telemetry("shop/all", to("b", "a"))), (), CLIENT)
        assert found == (Logging("a"), Logging("b"))


class TestTracing:
    def settings(self, *levels: dict[str, Any], mode: WorkloadMode = CLIENT) -> TracingSettings | None:
        places = ("istio-system/root", "shop/all")
        objects = [made("Telemetry", where, tracing=[level]) for where, level in zip(places, levels, strict=False)]
        return tracing(holding(*objects), ("zipkin",), mode)

    def test_the_default_provider_counts(self) -> None:
        assert self.settings() == TracingSettings(provider="zipkin")
        assert tracing((), (), CLIENT) is None

    def test_the_later_level_wins_field_by_field(self) -> None:
        found = self.settings(
            {
                "randomSamplingPercentage": 50,
                "enableIstioTags": False,
                "customTags": {"a": {"literal": {"value": "x"}}},
            },
            {"randomSamplingPercentage": 0, "providers": [{"name": "otel"}]},
        )
        assert found is not None
        assert (found.provider, found.sampling, found.istio_tags) == ("otel", 0, False)
        assert [name for name, _ in found.custom_tags] == ["a"]

    @pytest.mark.parametrize(("mode", "off"), [(CLIENT, False), (SERVER, True)])
    def test_a_direction_is_told_apart(self, mode: WorkloadMode, off: bool) -> None:
        found = self.settings({"match": {"mode": "SERVER"}, "disableSpanReporting": True}, mode=mode)
        assert found is not None and found.disabled is off
