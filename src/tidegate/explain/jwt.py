"""JSON web tokens, as far as they can be judged without keys: whether one is asked for, whether one is there, and
whether it is plainly none of the provider's."""

from typing import Any

from tidegate.dump.config.http import Jwt, JwtPerRoute, JwtRequirement, JwtRequirements, JwtRule
from tidegate.explain import routes, tokens
from tidegate.explain.exchange import Exchange
from tidegate.explain.logic import Verdict, all_of, any_of
from tidegate.explain.trace import End
from tidegate.explain.walk import Walk

_MOST_NESTED = 40


def judge(walk: Walk, exchange: Exchange, own: dict[str, Any], per_route: list[Any], where: str) -> list[Walk | End]:
    """Go on where no token is needed or one is there (whose validity is not known), 401 where one is missing."""
    found = walk.notes.read(Jwt, own, where)
    preflight = exchange.request.method == "OPTIONS" and exchange.values("access-control-request-method")
    if found.bypass_cors_preflight and preflight and exchange.values("origin"):
        return [walk]
    if found.filter_state_rules is not None:
        walk.unsure(where, "tokens are asked for by filter state, which is not judged here")
    raw = _required(walk, exchange, found, per_route, where)
    there = {name: tokens.carried(exchange, each) for name, each in found.providers.items()}
    there = {name: carried for name, carried in there.items() if carried}
    faults = {name: tokens.fault(carried[0], found.providers[name]) for name, carried in there.items()}
    if raw is None:
        return [walk]
    verdict = _met(walk, found, walk.notes.read(JwtRequirement, raw, where), faults, 0)
    if verdict is False:
        return [_refused(walk, faults)]
    if there:
        walk.unsure(where, "the request carries a token, whose validity is not judged here: taken to be valid")
        return [walk.with_(metadata_open=True)]
    return [walk]


def _refused(walk: Walk, faults: dict[str, str]) -> End:
    """faults: of each provider that found a token, what is wrong with it."""
    wrong = next((fault for fault in faults.values() if fault), "")
    if wrong:
        seen = walk.step("http_filter", "JwtAuthentication", why=f"the request's token is refused: {wrong}")
        return seen.end("denied", f"the JSON web token is refused: {wrong} (401)", http_status=401)
    seen = walk.step("http_filter", "JwtAuthentication", why="a token is asked for and the request has none")
    return seen.end("denied", "a JSON web token is missing (401)", http_status=401)


def _required(walk: Walk, exchange: Exchange, found: Jwt, per_route: list[Any], where: str) -> dict[str, Any] | None:
    """What the route, or the first rule that matches, asks for; None: nothing."""
    if per_route:
        override = walk.notes.read(JwtPerRoute, per_route[0], where)
        return None if override.disabled else found.requirement_map.get(override.requirement_name)
    for number, raw in enumerate(found.rules):
        rule = walk.notes.read(JwtRule, raw, where)
        if routes.judge(walk, exchange, rule.match, f"{where}.rules[{number}]")[0]:
            return found.requirement_map.get(rule.requirement_name) if rule.requirement_name else rule.requires
    return None


def _met(walk: Walk, found: Jwt, need: JwtRequirement, faults: dict[str, str], depth: int) -> Verdict:
    """None where it hangs on whether a token that is there is valid.

    faults: of each provider that found a token, what is plainly wrong with it, or "".
    """
    if depth > _MOST_NESTED:
        return None
    if need.allow_missing_or_failed is not None:
        return True
    if need.allow_missing is not None:
        return True if not faults else False if all(faults.values()) else None
    name = need.provider_name or (need.provider_and_audiences.provider_name if need.provider_and_audiences else "")
    if name:
        return None if name in faults and not faults[name] else False
    for raw, combine in ((need.requires_any, any_of), (need.requires_all, all_of)):
        if raw is not None:
            parts = walk.notes.read(JwtRequirements, raw, "JwtRequirement").requirements
            inner = [walk.notes.read(JwtRequirement, each, "JwtRequirement") for each in parts]
            return combine(_met(walk, found, each, faults, depth + 1) for each in inner)
    return True
