"""Which resource a request path means, and the reading of query parameters."""

import re
from collections.abc import Mapping

import msgspec

from tidegate.api.admission import FieldValidation
from tidegate.api.kinds import KINDS, SERVED, Kind
from tidegate.store import status
from tidegate.store.model import StoreError
from tidegate.store.strategy import has_scale, has_status
from tidegate.store.writes import Options, Target

_BY_PLURAL: dict[tuple[str, str], Kind] = {(k.group, k.plural): k for k in SERVED}

_IN_A_LAB = {
    "log": "tidegate lab logs {}",
    "exec": "tidegate lab exec {} -- COMMAND",
    "attach": "tidegate lab logs {} --follow",
    "portforward": "tidegate lab exec {} -- COMMAND",
}
_OF_A_RUNNING_POD = re.compile(rf"/api/v1/namespaces/([^/]{{1,63}})/pods/([^/]{{1,253}})/({'|'.join(_IN_A_LAB)})/?")
_MANAGER_LENGTH = 128
_FIELD_VALIDATION: dict[str, FieldValidation] = {"Strict": "Strict", "Warn": "Warn", "Ignore": "Ignore"}


def unknown(path: str) -> StoreError:
    """404; for what only a kubelet serves, with the command of a lab that does it."""
    asked = _OF_A_RUNNING_POD.fullmatch(path)
    hint = f"; in a lab, use `{_IN_A_LAB[asked[3]].format(f'{asked[2]}.{asked[1]}')}`" if asked else ""
    text = f"the server could not find the requested resource: nothing is served at {path!r:.300}{hint}"
    return status.error(404, text)


def parse(path: str) -> Target:
    """``/api/v1/namespaces/N/pods/P/status``, ``/apis/<group>/<version>/...``; a 404 StoreError for anything else.

    The namespace is "" for cluster-scoped objects and for all namespaces; the name is "" for collections.
    """
    parts = path.strip("/").split("/")
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown(path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not (group == "" and _is_subresource("Namespace", rest[2:])):
        namespace, rest = rest[1], rest[2:]
    kind = _BY_PLURAL.get((group, rest[0]))
    if kind is None or version not in kind.versions or len(rest) > 3 or (namespace and not kind.namespaced):
        raise unknown(path)
    name, subresource = (*rest[1:], "", "")[:2]
    if (name and kind.namespaced and not namespace) or (subresource and not _is_subresource(kind.kind, [subresource])):
        raise unknown(path)
    own = KINDS[kind.kind]
    return Target(own, version, namespace, name, subresource, None if kind is own else group)


def _is_subresource(kind: str, rest: list[str]) -> bool:
    return len(rest) == 1 and rest[0] in subresources(KINDS[kind])


def subresources(kind: Kind) -> tuple[str, ...]:
    if kind.kind == "ServiceAccount":
        return ("token",)
    return (*(("scale",) if has_scale(kind) else ()), *(("status",) if has_status(kind) else ()))


class ListOptions(msgspec.Struct, frozen=True):
    """metav1.ListOptions."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    resume: str = ""
    """The ``continue`` parameter."""
    resource_version: str = ""
    resource_version_match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial_events: bool = False
    timeout_seconds: int = 0


def list_options(query: Mapping[str, str]) -> ListOptions:
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=_number(query, "limit"),
        resume=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        watch=_flag(query, "watch"),
        bookmarks=_flag(query, "allowWatchBookmarks"),
        initial_events=_flag(query, "sendInitialEvents"),
        timeout_seconds=_number(query, "timeoutSeconds"),
    )


def write_options(query: Mapping[str, str], user_agent: str = "") -> Options:
    """``user_agent``: its first word names the writer where fieldManager does not."""
    dry_run, validation = query.get("dryRun", ""), query.get("fieldValidation", "") or "Warn"
    if dry_run not in ("", "All"):
        raise status.error(400, f'dryRun is "All" or absent, got {dry_run!r}')
    if validation not in _FIELD_VALIDATION:
        raise status.error(400, f"fieldValidation is one of {', '.join(_FIELD_VALIDATION)}, got {validation!r:.100}")
    return Options(
        dry_run=bool(dry_run),
        field_validation=_FIELD_VALIDATION[validation],
        field_manager=_field_manager(query.get("fieldManager", "")),
        client=_printable(re.split(r"[/\s]", user_agent, maxsplit=1)[0])[:_MANAGER_LENGTH] or "unknown",
        force=_flag(query, "force"),
    )


def _field_manager(text: str) -> str:
    if len(text) > _MANAGER_LENGTH or text != _printable(text):
        expected = f"fieldManager is at most {_MANAGER_LENGTH} printable characters"
        raise status.error(422, f"{expected}, got {text!r:.200}")
    return text


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


def version_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise status.error(400, f"resourceVersion is a number that this server gave, got {text!r:.100}")
    return int(text)


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "").lower()
    if text not in ("", "0", "1", "true", "false"):
        raise status.error(400, f"{name} is true or false, got {text!r:.100}")
    return text in ("1", "true")


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise status.error(400, f"{name} is a number of at most nine digits, got {text!r:.100}")
    return int(text)
