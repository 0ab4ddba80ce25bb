"""Runs one recorded scenario offline: objects in, resources of each of its proxies out."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from tidegate.app.offline import manifests, proxyspec
from tidegate.app.offline import world as offline
from tidegate.app.offline.compile import Compiled, compile_proxy
from tidegate.app.offline.findings import Severity
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.app.offline.world import Offline
from tidegate.envoy.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SECRET

SECTIONS = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE, "sds": SECRET, "ecds": EXTENSION}
ASKED_FOR = ("rds", "sds")
"""Sections of what proxies ask for by name."""


class Scenario:
    """A folder of config.yaml, mesh.yaml, env and proxies.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def offline(self) -> Offline:
        """As istiod's registries had it: they take the names of Pods as they come, even such as Kubernetes refuses."""
        return self._built(judged=False)

    def _built(self, *, judged: bool) -> Offline:
        mesh = self.folder / "mesh.yaml"
        settings = offline.Settings(
            mesh_config=mesh if mesh.exists() else None, variables=self._variables(), judged=judged
        )
        return offline.build(manifests.load([str(self.folder / "config.yaml")]), settings)

    def _variables(self) -> dict[str, str]:
        file = self.folder / "env"
        lines = file.read_text().split() if file.exists() else []
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    @property
    def rejected(self) -> frozenset[str]:
        """Objects that admission refuses, as ``Kind/namespace/name``."""
        found = self._built(judged=True).findings
        return frozenset(f.object for f in found if f.severity is Severity.ERROR and not f.object.startswith("Pod/"))

    def proxies(self) -> list[ProxySpec]:
        file = self.folder / "proxies.json"
        return proxyspec.convert_all(json.loads(file.read_text()), str(file))

    def compiled(self, spec: ProxySpec) -> Compiled:
        return compile_proxy(self.offline, spec)

    @cached_property
    def mixed(self) -> bool:
        """Whether some proxies are to tell servers which attempt a request is, and others are not to."""
        return len({self.compiled(spec).proxy.kind.headers.attempt_count for spec in self.proxies()}) > 1

    def resources(self, compiled: Compiled, expected: dict[str, Any]) -> dict[str, dict[str, bytes]]:
        """By section of the expected file, name to body; routes and secrets are those that the proxy asked for."""
        out: dict[str, dict[str, bytes]] = {}
        for section, url in SECTIONS.items():
            asked = iter([each["name"] for each in expected[section] or ()]) if section in ASKED_FOR else None
            found = compiled.resources(url, asked)
            out[section] = {name: each.body for name, each in found.items()}
        return out

    def expected(self, spec: ProxySpec) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "expected" / f"{spec.name}.json").read_text())
        return found
