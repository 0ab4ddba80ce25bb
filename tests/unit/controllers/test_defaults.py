"""What a new store needs."""

from tidegate.api import meshconfig
from tidegate.controllers import defaults


def test_only_what_is_absent_is_created_and_can_be_read() -> None:
    namespace, config = defaults.plan(None, None)
    assert (namespace.object["kind"], config.object["kind"]) == ("Namespace", "ConfigMap")
    assert meshconfig.parse(config.object["data"]["mesh"]).connect_timeout
    assert [a.object["kind"] for a in defaults.plan({}, None)] == ["ConfigMap"]
    assert defaults.plan({}, {}) == []
