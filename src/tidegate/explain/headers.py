"""The headers of a request as a route configuration leaves them."""

from tidegate.dump.config.route import AddedHeader, RequestHeaders
from tidegate.explain.exchange import Exchange

Headers = tuple[tuple[str, str], ...]
Values = dict[str, list[str]]
"""By name in lower case."""


def sent(exchange: Exchange) -> Headers:
    """The caller's headers after each level's changes, the most specific level first, as Envoy makes them.

    A value that Envoy works out for each request stands as the configuration writes it; those that Envoy adds to
    every request are left out.
    """
    found: Values = {}
    for name, value in exchange.request.headers:
        found.setdefault(name.lower(), []).append(value)
    table = exchange.table.config if exchange.table else None
    for level in (exchange.weighted, exchange.route, exchange.host, table):
        if level is not None:
            _change(found, level)
    return tuple((name, value) for name, values in found.items() for value in values)


def _change(found: Values, level: RequestHeaders) -> None:
    """What is removed goes before what is added comes."""
    for name in level.request_headers_to_remove:
        found.pop(name.lower(), None)
    for each in level.request_headers_to_add:
        if each.header.value or each.keep_empty_value:
            _add(found, each)


def _add(found: Values, added: AddedHeader) -> None:
    name, value = added.header.key.lower(), added.header.value.replace("%%", "%")
    there, action = name in found, _action(added)
    if (there and action == "ADD_IF_ABSENT") or (not there and action == "OVERWRITE_IF_EXISTS"):
        return
    if action.startswith("OVERWRITE"):
        found.pop(name, None)
    found.setdefault(name, []).append(value)


def _action(added: AddedHeader) -> str:
    """``append: false`` is how overwriting was asked for before there were actions."""
    return added.append_action if added.append else "OVERWRITE_IF_EXISTS_OR_ADD"
