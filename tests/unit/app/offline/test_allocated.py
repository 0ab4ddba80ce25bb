"""Addresses that offline worlds give ServiceEntries."""

from typing import Any

import pytest

from tidegate.api.objects import Ref
from tidegate.app.offline import assumed
from tidegate.controllers.addresses import LABEL

REF = Ref("ServiceEntry", "shop", "db")


def entry(label: str, **status: Any) -> dict[Ref, Any]:
    meta = {"name": "db", "namespace": "shop", "labels": {LABEL: label} if label else {}}
    spec = {"hosts": ["db.example.com"], "resolution": "DNS"}
    return {REF: {"kind": "ServiceEntry", "metadata": meta, "spec": spec, "status": status}}


def test_an_entry_that_asks_for_addresses_gets_the_same_each_time() -> None:
    first, again = (dict(assumed.allocated(entry("true"))) for _ in range(2))
    assert first == again and len(first[REF]["status"]["addresses"]) == 2


@pytest.mark.parametrize("label", ["", "false"])
def test_others_get_none(label: str) -> None:
    assert dict(assumed.allocated(entry(label))) == {}


def test_addresses_of_the_manifests_stand() -> None:
    held = [{"value": "240.240.0.9", "host": "db.example.com"}]
    assert dict(assumed.allocated(entry("true", addresses=held))) == {}
