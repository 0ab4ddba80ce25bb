"""What the far side sees of a request's headers, and what a gRPC client sees of an answer."""

from typing import Any

import pytest

from tests.unit.explain.worlds import get, host, route, web
from tidegate.explain.connection import HttpRequest

SENT = (("x-user", "anna"), ("x-team", "red"))


def added(name: str, value: str, **rest: Any) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, **rest}


def seen(on_host: dict[str, Any], on_route: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    changed = {**route(route={"cluster": "c"}), **on_route}
    end = web(get(x_user="anna", X_Team="red"), host(changed, **on_host)).end
    assert end.far_side is not None
    return end.far_side.headers


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, SENT),
        ({"requestHeadersToRemove": ["X-User"]}, SENT[1:]),
        ({"requestHeadersToAdd": [added("x-user", "b")]}, (SENT[0], ("x-user", "b"), SENT[1])),
        (
            {"requestHeadersToAdd": [added("X-User", "b", appendAction="OVERWRITE_IF_EXISTS_OR_ADD")]},
            (SENT[1], ("x-user", "b")),
        ),
        ({"requestHeadersToAdd": [added("x-user", "b", append=False)]}, (SENT[1], ("x-user", "b"))),
        ({"requestHeadersToAdd": [added("x-user", "b", appendAction="ADD_IF_ABSENT")]}, SENT),
        ({"requestHeadersToAdd": [added("x-new", "b", appendAction="ADD_IF_ABSENT")]}, (*SENT, ("x-new", "b"))),
        ({"requestHeadersToAdd": [added("x-new", "b", appendAction="OVERWRITE_IF_EXISTS")]}, SENT),
        ({"requestHeadersToAdd": [added("x-new", "")]}, SENT),
        ({"requestHeadersToAdd": [added("x-new", "", keepEmptyValue=True)]}, (*SENT, ("x-new", ""))),
        ({"requestHeadersToAdd": [added("x-new", "50%%")]}, (*SENT, ("x-new", "50%"))),
        (
            {"requestHeadersToRemove": ["x-user"], "requestHeadersToAdd": [added("x-user", "b")]},
            (SENT[1], ("x-user", "b")),
        ),
    ],
)
def test_a_route_changes_headers(change: dict[str, Any], expected: tuple[tuple[str, str], ...]) -> None:
    assert seen({}, change) == expected


def test_the_virtual_host_changes_what_its_route_has_changed() -> None:
    of_route = {"requestHeadersToAdd": [added("x-new", "1")]}
    assert seen({"requestHeadersToRemove": ["x-new"]}, of_route) == SENT


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("application/grpc", 403, 7),
        ("application/grpc+proto", 503, 14),
        ("application/grpc", 418, 2),
        ("application/grpc-web", 403, None),
        ("text/plain", 403, None),
        ("", 403, None),
    ],
)
def test_answers_to_grpc_clients_have_a_status_of_their_own(kind: str, status: int, expected: int | None) -> None:
    headers = (("content-type", kind),) if kind else ()
    request = HttpRequest(version="2", method="POST", authority="a.test", headers=headers)
    end = web(request, host({"match": {"prefix": "/"}, "directResponse": {"status": status}})).end
    assert (end.http_status, end.grpc_status) == (status, expected)
