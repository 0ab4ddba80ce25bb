"""Conversations in the state-of-the-world variant."""


def test_a_changed_eds_cluster_gets_its_endpoints_again(sotw, world):
    talk = sotw(world(cds={"eds-a": "1", "b": "1"}, eds={"eds-a": "1"}))
    talk.says("cds")
    talk.hears("cds", {"eds-a": "1", "b": "1"})
    talk.acks("cds")
    talk.says("eds", "eds-a")
    talk.hears("eds", {"eds-a": "1"})
    talk.acks("eds", "eds-a")
    talk.publishes(world(cds={"eds-a": "2", "b": "1"}, eds={"eds-a": "1"}))
    talk.hears("cds", {"eds-a": "2", "b": "1"})
    talk.hears("eds", {"eds-a": "1"})


def test_a_bad_cluster_is_replaced_by_what_was_accepted_last(sotw, world):
    talk = sotw(world(cds={"a": "1", "b": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "1"})
    talk.acks("cds")
    talk.publishes(world(cds={"a": "2", "b": "2", "c": "1"}))
    talk.hears("cds", {"a": "2", "b": "2", "c": "1"})
    talk.nacks("cds", "Error adding/updating cluster(s) b: bad, c: bad")
    talk.hears("cds", {"a": "2", "b": "1"})
    talk.acks("cds")
    assert talk.quarantined("cds") == {"b": "2", "c": "1"}
    talk.publishes(world(cds={"a": "3", "b": "2", "c": "1"}))
    talk.hears("cds", {"a": "3", "b": "1"})


def test_an_error_that_names_nobody_is_halved(sotw, world):
    talk = sotw(world(cds={"a": "1", "b": "1", "c": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "1", "c": "1"})
    talk.nacks("cds", "constraint")
    talk.hears("cds", {"a": "1", "b": "1"})
    talk.acks("cds")
    talk.hears("cds", {"a": "1", "b": "1", "c": "1"})
    talk.nacks("cds", "constraint")
    talk.hears_nothing()
    assert talk.quarantined("cds") == {"c": "1"}


def test_clusters_are_left_out_only_after_routes_have_changed(sotw, world):
    talk = sotw(world(cds={"old": "1"}, rds={"80": "old"}))
    talk.says("cds")
    talk.hears("cds", {"old": "1"})
    talk.acks("cds")
    talk.says("rds", "80")
    talk.hears("rds", {"80": "old"})
    talk.acks("rds", "80")
    talk.publishes(world(cds={"new": "1"}, rds={"80": "new"}))
    talk.hears("cds", {"new": "1", "old": "1"})
    talk.acks("cds")
    talk.hears("rds", {"80": "new"})
    talk.acks("rds", "80")
    talk.hears("cds", {"new": "1"})


def test_only_new_names_are_answered(sotw, world):
    talk = sotw(world(eds={"a": "1", "b": "1", "c": "1"}))
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})
    talk.acks("eds", "a", "b")
    talk.hears("eds", {"b": "1"})
    talk.acks("eds", "a", "b")
    talk.acks("eds", "b")
    talk.hears_nothing()
    talk.publishes(world(eds={"a": "2", "b": "2", "c": "2"}))
    talk.hears("eds", {"b": "2"})


def test_a_stale_nonce_is_ignored_names_and_all(sotw, world):
    talk = sotw(world(eds={"a": "1", "b": "1"}))
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})
    talk.says("eds", "a", "b", nonce="old")
    talk.hears_nothing()


def test_a_request_without_nonce_begins_anew(sotw, world):
    talk = sotw(world(lds={"l": "1"}))
    talk.says("lds")
    talk.hears("lds", {"l": "1"})
    talk.says("lds")
    talk.hears("lds", {"l": "1"})
    talk.acks("lds")
    talk.hears_nothing()


def test_no_names_mean_all_for_clusters_and_nothing_for_endpoints(sotw, world):
    talk = sotw(world(cds={}, eds={"a": "1"}))
    talk.says("cds")
    talk.hears("cds", {})
    talk.acks("cds")
    talk.says("eds")
    talk.hears_nothing()
    talk.says("type.googleapis.com/example.Unknown")
    talk.hears("other", {})


def test_a_removed_listener_is_left_out(sotw, world):
    talk = sotw(world(lds={"l": "1", "m": "1"}))
    talk.says("lds")
    talk.hears("lds", {"l": "1", "m": "1"})
    talk.acks("lds")
    talk.publishes(world(lds={"m": "1"}))
    talk.hears("lds", {"m": "1"})
    talk.acks("lds")
    talk.publishes(world(lds={"m": "1"}), known=False)
    talk.hears_nothing()
