"""Persistent sessions: a client that was served once comes back to the same endpoint, by a cookie or a header.

A Service asks for it by a label; the filter stands in every way out, empty, and hosts and routes fill it in.
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/stateful_session_filter
"""

from collections.abc import Iterable
from typing import Any

from tidegate.envoy import protos
from tidegate.registry.model import Service

FILTER = "envoy.filters.http.stateful_session"
COOKIE_LABEL, HEADER_LABEL = "istio.io/persistent-session", "istio.io/persistent-session-header"
"""Labels of Services: the cookie as ``name`` or ``name:path``, and the header by which sessions are known."""


def asked(service: Service) -> bool:
    """Whether a service has persistent sessions: endpoints that go stay known to its clients until they are gone."""
    return any(key in (COOKIE_LABEL, HEADER_LABEL) and value for key, value in service.labels)


def per_route(services: Iterable[Service | None]) -> Any | None:
    """What a route, or a virtual host, to these services tells the filter. Of several that ask for sessions the first
    counts, as far as they follow each other."""
    found = None
    for service in services:
        state = _state(service) if service is not None else None
        if state is not None and found is not None:
            break
        found = state
    if found is None:
        return None
    return protos.StatefulSessionPerRoute(stateful_session=protos.StatefulSession(session_state=found))


def _state(service: Service) -> Any | None:
    labels = dict(service.labels)
    if cookie := labels.get(COOKIE_LABEL):
        name, colon, path = cookie.partition(":")
        config = protos.CookieSession(cookie=protos.Cookie(name=name, path=path if colon else "/"))
        return protos.extension("envoy.http.stateful_session.cookie", config)
    if header := labels.get(HEADER_LABEL):
        return protos.extension("envoy.http.stateful_session.header", protos.HeaderSession(name=header))
    return None
