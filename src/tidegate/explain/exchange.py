"""One request inside a connection, and what of the route configuration applies to it."""

from dataclasses import dataclass, replace
from typing import Any

from tidegate.dump.config.network import HttpConnectionManager
from tidegate.dump.config.route import Route, RouteAction, VirtualHost, WeightedCluster
from tidegate.explain.config import RouteTable
from tidegate.explain.connection import HttpRequest


@dataclass(frozen=True)
class Exchange:
    """A request as the HTTP connection manager has understood it."""

    manager: HttpConnectionManager
    where: str
    request: HttpRequest
    """Authority and path after the connection manager's own normalization."""
    secure: bool
    """Its scheme is https: it came over TLS that was ended here."""
    table: RouteTable | None = None
    host: VirtualHost | None = None
    route: Route | None = None
    route_path: str = ""
    weighted: WeightedCluster | None = None
    cluster: str = ""
    """The cluster that the route chose for this branch."""
    to_tls: bool = False
    """The virtual host demands TLS and the request came without."""

    def with_(self, **changes: Any) -> "Exchange":
        return replace(self, **changes)

    @property
    def action(self) -> RouteAction | None:
        return self.route.route if self.route else None

    @property
    def path(self) -> str:
        """Without query and fragment."""
        return split_path(self.request.path)[0]

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a header, the pseudo-headers included."""
        special = {
            ":method": self.request.method,
            ":authority": self.request.authority,
            "host": self.request.authority,
            ":path": self.request.path,
            ":scheme": "https" if self.secure else "http",
        }
        key = name.lower()
        found = special.get(key)
        if found is not None:
            return (found,) if found else ()
        given = self.request.values(key)
        return given or (("https" if self.secure else "http",) if key == "x-forwarded-proto" else ())

    def per_filter(self, name: str) -> list[Any]:
        """The settings of a filter for this request, the most specific first; none where no route was found."""
        if self.route is None:
            return []
        levels = (self.weighted, self.route, self.host, self.table.config if self.table else None)
        found = [level.typed_per_filter_config.get(name) for level in levels if level is not None]
        return [each for each in found if isinstance(each, dict)]


def split_path(path: str) -> tuple[str, str]:
    """Path, and query with its question mark; a fragment is dropped."""
    whole = path.partition("#")[0]
    plain, mark, query = whole.partition("?")
    return plain, mark + query
