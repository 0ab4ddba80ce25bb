"""Which object made a part of a resource."""

import pytest

from tests.worlds import world
from tidegate.answer.origins import Parts, Recorded
from tidegate.api.objects import Ref
from tidegate.envoy.resource import ROUTE, Origin, Resource
from tidegate.explain.trace import Step

WEB, RULE, OTHER = Ref("Service", "shop", "web"), Ref("VirtualService", "shop", "web"), Ref("Service", "shop", "b")


def origin(path: str, ref: Ref = RULE, field: str = "") -> Origin:
    return Origin(path, ref, field or path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("virtualHosts[0].routes[1].route.timeout", "virtual_hosts[0].routes[1]"),
        ("virtualHosts[0].routes[0]", "virtual_hosts[0]"),
        ("virtualHosts[1]", "virtual_hosts[1].routes[0]"),
        ("virtualHosts[2].routes[0]", ""),
        ("", ""),
    ],
)
def test_the_smallest_part_around_a_path_tells_and_else_the_first_inside(path: str, expected: str) -> None:
    parts = [origin("", WEB), origin("virtual_hosts[0]"), origin("virtual_hosts[0].routes[1]")]
    parts += [origin("virtual_hosts[1].routes[0]"), origin("virtual_hosts[1].routes[1]")]
    if path == "virtualHosts[1]":
        parts = parts[1:]
    found = Parts(parts).nearest(path)
    assert found is not None and found.path == expected


def test_a_path_that_nothing_holds_or_lies_in_has_no_origin() -> None:
    assert Parts([origin("virtual_hosts[0]")]).nearest("virtualHosts[1].routes[0]") is None
    assert Parts([]).nearest("") is None


def test_the_first_of_two_that_tell_the_same_part_counts() -> None:
    found = Parts([origin("name", WEB), origin("name", OTHER)]).nearest("name")
    assert found is not None and found.ref == WEB


def test_a_resource_is_read_once_for_all_questions() -> None:
    asked: list[tuple[str, str]] = []

    def find(url: str, name: str) -> Resource | None:
        asked.append((url, name))
        return Resource(name, url, b"", "1", (origin("virtual_hosts[0]"),)) if name == "80" else None

    origins = Recorded(find, world())
    step = Step("virtual_host", "VirtualHost", "web", path="virtualHosts[0]")
    for _ in range(3):
        found = origins.of(step, "RouteConfiguration", "80")
        assert found is not None and found.ref == RULE
        assert origins.of(step, "RouteConfiguration", "absent") is None
    assert asked == [(ROUTE, "80"), (ROUTE, "absent")]
