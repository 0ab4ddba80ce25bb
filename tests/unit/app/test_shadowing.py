"""The index of ports behind the warning: it follows writes, and tells nothing that is not stored."""

from tidegate.app.shadowing import LOOKED_AT, Shadowing


def entry(name, port=7000, **spec):
    body = {
        "hosts": [f"{name}.example"],
        "ports": [{"number": port, "name": "tcp", "protocol": "TCP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "10.0.0.6"}],
        **spec,
    }
    meta = {"name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": body}


class Stored:
    """The part of a transaction that is read."""

    def __init__(self, *objects):
        self.objects = {o["metadata"]["name"]: o for o in objects}
        self.read = 0

    def get(self, key):
        self.read += 1
        return self.objects.get(key.name)


def test_what_is_stored_is_known_from_the_start():
    assert "ServiceEntry shop/b" in Shadowing([entry("b")]).advise(Stored(entry("b")), entry("a"))[0]


def test_two_that_come_one_after_the_other_meet():
    found, stored = Shadowing(), Stored()
    for name in ("a", "b"):
        found("create", entry(name), None)
        told = found.advise(stored, entry(name))
        stored.objects[name] = entry(name)
    assert "ServiceEntry shop/a" in told[0]


def test_what_was_never_stored_is_not_told():
    found = Shadowing()
    found("create", entry("b"), None)
    assert found.advise(Stored(), entry("a")) == ()


def test_an_object_that_left_the_port_is_not_told():
    found = Shadowing([entry("b")])
    moved = entry("b", 7001)
    found("update", moved, entry("b"))
    assert found.advise(Stored(moved), entry("a")) == ()
    assert found.advise(Stored(moved), entry("c", 7001))


def test_a_deleted_object_is_not_even_read():
    found = Shadowing([entry("b")])
    found("delete", entry("b"), entry("b"))
    stored = Stored(entry("b"))
    assert found.advise(stored, entry("a")) == ()
    assert stored.read == 0


def test_a_write_costs_the_same_among_many():
    many = [entry(f"e{i}") for i in range(3 * LOOKED_AT)]
    stored = Stored(*many)
    assert Shadowing(many).advise(stored, entry("z"))
    assert stored.read <= LOOKED_AT


def test_other_kinds_pass_through():
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
    assert Shadowing()("create", config, None) is config
    assert Shadowing().advise(Stored(), config) == ()
