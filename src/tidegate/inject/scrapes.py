"""Annotations that lead scrapes to the agent, which joins the application's statistics to the proxy's.

A scraper reads ``prometheus.io/port`` and ``prometheus_io_port`` as the same name, and so does this.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from tidegate.inject import annotations
from tidegate.inject.context import Context
from tidegate.inject.settings import Json
from tidegate.kit.errors import FieldError

PATH = "/stats/prometheus"
"""Where the agent answers scrapes."""
SECURE_VARIABLE, SECURE_PORT = "ENVOY_SECURE_MERGED_METRICS_PORT", "prometheus.istio.io/secure-port"
_PREFIX = "prometheus.io/"


def told(given: Json, *, merges: bool, port: str) -> Json | None:
    """What the agent at ``port`` is told of the application's own statistics, from a pod's annotations: {} for
    nothing; None where scrapes are to stay as they are. ``merges``: the mesh's choice where the pod makes none."""
    asked = given.get(annotations.MERGE_METRICS)
    said = of_scraper(given)
    wanted = merges if asked is None else annotations.is_true(asked)
    if not wanted or annotations.is_false(said.get("scrape", "")) or said.get("port") == port:
        return None
    found: Json = {name: said.get(name, "") for name in ("scrape", "path", "port")}
    if targets := targets_of(given):
        return {**found, **targets[0], "targets": targets}
    return found if any(found.values()) else {}


def of_pod(context: Context) -> Json | None:
    """As :func:`told`, for a pod that is injected."""
    merges = bool(context.settings.mesh.get("enablePrometheusMerge", True))
    return told(context.annotations, merges=merges, port=context.agent_port)


def errors(context: Context) -> Iterator[FieldError]:
    """A port that the agent is to ask and cannot."""
    said = of_pod(context) or {}
    if said.get("port") and not said.get("targets") and (wrong := annotations.scraped_port(said["port"])):
        yield FieldError(f"metadata.annotations[{_PREFIX}port]", wrong, said["port"])


def of_scraper(given: Json) -> dict[str, str]:
    """``scrape``, ``path`` and ``port`` as far as annotations say them."""
    known = {_plain(_PREFIX + name): name for name in ("scrape", "path", "port")}
    return {known[_plain(name)]: str(value) for name, value in given.items() if _plain(name) in known}


def targets_of(given: Json) -> list[dict[str, str]]:
    """The ports and paths that the author names each by each."""
    text = next((str(v) for k, v in given.items() if _plain(k) == _plain(annotations.SCRAPE_TARGETS)), "")
    parts = (part.strip().partition(":") for part in text.split(",") if part.strip())
    return [{"port": port.strip(), "path": path.strip() or "/metrics"} for port, _, path in parts]


def led(given: Json, port: str) -> Json:
    """The annotations of a pod whose scrapes go to the agent."""
    return without(given) | {_PREFIX + "scrape": "true", _PREFIX + "port": port, _PREFIX + "path": PATH}


def without(given: Json) -> Json:
    """The annotations that are not for a scraper."""
    gone = {_plain(_PREFIX + name) for name in ("scrape", "path", "port")} | {_plain(annotations.SCRAPE_TARGETS)}
    return {name: value for name, value in given.items() if _plain(name) not in gone}


def restored(given: Json, text: str) -> Json:
    """The author's annotations in place of those that lead to the agent, from what the agent was told."""
    if given.get(_PREFIX + "path") != PATH:
        return given
    try:
        found: Any = json.loads(text) if text else {}
    except ValueError:
        found = {}
    found = found if isinstance(found, dict) else {}
    own = {_PREFIX + name: found[name] for name in ("scrape", "path", "port") if found.get(name)}
    pairs = [each for each in found.get("targets") or () if isinstance(each, dict)]
    if pairs:
        scrape = {k: v for k, v in own.items() if k == _PREFIX + "scrape"}
        own = scrape | {annotations.SCRAPE_TARGETS: ",".join(f"{e.get('port')}:{e.get('path')}" for e in pairs)}
    return without(given) | own


def secure_port(given: Json, variables: Json) -> Json:
    """The annotation that tells a scraper of a port with mutual TLS, where the proxy is told of one and the author
    has not said it."""
    port = str(variables.get(SECURE_VARIABLE) or "")
    said = any(_plain(name) == _plain(SECURE_PORT) for name in given)
    return {SECURE_PORT: port} if port not in ("", "0") and not said else {}


def _plain(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
