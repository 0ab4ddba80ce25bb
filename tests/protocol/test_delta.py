"""Conversations in the incremental variant."""

import pytest

from tidegate.xds import session as session_module
from tidegate.xds.acceptance import ProxyMemory
from tidegate.xds.session import ProtocolError


def test_a_changed_eds_cluster_gets_its_endpoints_again(delta, world):
    talk = delta(world(cds={"eds-a": "1", "eds-b": "1"}, eds={"eds-a": "1", "eds-b": "1"}))
    talk.says("cds")
    talk.hears("cds", {"eds-a": "1", "eds-b": "1"})
    talk.acks("cds")
    talk.says("eds", "eds-a", "eds-b")
    talk.hears("eds", {"eds-a": "1", "eds-b": "1"})
    talk.acks("eds")

    talk.publishes(world(cds={"eds-a": "2", "eds-b": "1"}, eds={"eds-a": "1", "eds-b": "1"}))
    talk.hears("cds", {"eds-a": "2"})
    talk.hears("eds", {"eds-a": "1"})  # before the clusters are acknowledged: Envoy does that when they are warm
    talk.acks("eds")
    talk.acks("cds")
    talk.hears_nothing()
    assert talk.state("cds") == talk.state("eds") == "SYNCED"


def test_a_bad_cluster_is_quarantined_and_the_others_stand(delta, world):
    talk = delta(world(cds={"a": "1", "b": "1", "c": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "1", "c": "1"})
    talk.acks("cds")

    talk.publishes(world(cds={"a": "2", "b": "2", "c": "2"}))
    talk.hears("cds", {"a": "2", "b": "2", "c": "2"})
    talk.nacks("cds", "Error adding/updating cluster(s) b: no such socket")
    talk.hears("cds", {"a": "2", "c": "2"})  # once more, for nobody said that they were taken
    talk.acks("cds")
    assert talk.state("cds") == "ERROR"
    assert talk.quarantined("cds") == {"b": "2"}

    talk.publishes(world(cds={"a": "2", "b": "2", "c": "3"}))
    talk.hears("cds", {"c": "3"})
    talk.acks("cds")
    talk.publishes(world(cds={"a": "2", "b": "3", "c": "3"}))
    talk.hears("cds", {"b": "3"})
    talk.acks("cds")
    assert talk.state("cds") == "SYNCED"
    assert talk.quarantined("cds") == {}


def test_an_error_that_names_nobody_is_halved_until_the_culprit_stands_alone(delta, world):
    names = ["a", "b", "c", "d", "e"]
    talk = delta(world(cds=dict.fromkeys(names, "1")))
    refusal = "Proto constraint validation failed"
    talk.says("cds")
    talk.hears("cds", dict.fromkeys(names, "1"))
    talk.nacks("cds", refusal)
    talk.hears("cds", dict.fromkeys(["a", "b", "c"], "1"))
    talk.acks("cds")
    talk.hears("cds", {"d": "1", "e": "1"})
    talk.nacks("cds", refusal)
    talk.hears("cds", {"d": "1"})
    talk.nacks("cds", refusal)
    talk.hears("cds", {"e": "1"})
    talk.acks("cds")
    talk.hears_nothing()
    assert talk.quarantined("cds") == {"d": "1"}


def test_a_port_in_an_error_text_does_not_accuse_the_route_of_that_name(delta, world):
    talk = delta(world(rds={"80": "1", "8080": "1"}))
    talk.says("rds", "80", "8080")
    talk.hears("rds", {"80": "1", "8080": "1"})
    talk.nacks("rds", "connect to port 80 in route config '8080'")
    talk.hears("rds", {"80": "1"})
    talk.acks("rds")
    assert talk.quarantined("rds") == {"8080": "1"}


def test_a_quarantined_change_that_is_taken_back_needs_no_response(delta, world):
    talk = delta(world(cds={"a": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    talk.publishes(world(cds={"a": "2"}))
    talk.hears("cds", {"a": "2"})
    talk.nacks("cds", "bad")
    talk.publishes(world(cds={"a": "1"}))
    talk.hears_nothing()
    assert talk.quarantined("cds") == {}
    assert talk.state("cds") == "SYNCED"


def test_what_was_refused_with_others_is_settled_even_if_it_changes_back(delta, world):
    talk = delta(world(cds={"a": "1", "b": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "1"})
    talk.acks("cds")
    talk.publishes(world(cds={"a": "2", "b": "2"}))
    talk.hears("cds", {"a": "2", "b": "2"})
    talk.publishes(world(cds={"a": "1", "b": "2"}))
    talk.nacks("cds", "cluster b: bad")
    talk.hears("cds", {"a": "1"})  # the client may have taken 2 over


def test_a_quarantined_version_is_not_tried_again_on_the_next_stream(delta, world):
    memory = ProxyMemory()
    talk = delta(world(cds={"a": "1"}), memory)
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    bad = world(cds={"a": "2", "b": "1"})
    talk.publishes(bad)
    talk.hears("cds", {"a": "2", "b": "1"})
    talk.nacks("cds", "cluster a: bad")
    talk.hears("cds", {"b": "1"})
    talk.acks("cds")

    again = delta(bad, memory)
    again.says("cds", holds={"a": "1", "b": "1"})
    again.hears("cds")
    assert again.quarantined("cds") == {"a": "2"}

    restarted = delta(bad, memory)
    restarted.says("cds")
    restarted.hears("cds", {"a": "1", "b": "1"})  # what it accepted last, for it has nothing


def test_listeners_and_routes_wait_for_warm_clusters(delta, world):
    talk = delta(world(cds={"a": "1"}, lds={"l": "1"}, rds={"80": "1"}))
    talk.says("cds")
    talk.says("lds")
    talk.says("rds", "80")
    talk.hears("cds", {"a": "1"})
    talk.hears_nothing()
    talk.acks("cds")
    talk.hears("lds", {"l": "1"})
    talk.hears("rds", {"80": "1"})
    talk.acks("lds")
    talk.acks("rds")

    talk.publishes(world(cds={"a": "1", "b": "1"}, lds={"l": "2"}, rds={"80": "2"}))
    talk.hears("cds", {"b": "1"})
    talk.hears_nothing()
    talk.acks("cds")
    talk.hears("lds", {"l": "2"})
    talk.hears("rds", {"80": "2"})


def test_a_cluster_that_never_gets_warm_does_not_hold_routes_for_ever(delta, world):
    talk = delta(world(cds={"a": "1"}, rds={"80": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.says("rds", "80")
    talk.hears_nothing()
    talk.times_out()
    talk.hears("rds", {"80": "1"})
    assert not talk.session.held_back


def test_clusters_are_taken_back_after_the_routes_that_used_them(delta, world):
    talk = delta(
        world(cds={"eds-old": "1"}, eds={"eds-old": "1", "eds-new": "1"}, lds={"l": "1"}, rds={"80": "eds-old"})
    )
    talk.says("cds")
    talk.hears("cds", {"eds-old": "1"})
    talk.acks("cds")
    talk.says("eds", "eds-old")
    talk.hears("eds", {"eds-old": "1"})
    talk.acks("eds")
    talk.says("lds")
    talk.hears("lds", {"l": "1"})
    talk.acks("lds")
    talk.says("rds", "80")
    talk.hears("rds", {"80": "eds-old"})
    talk.acks("rds")

    talk.publishes(world(cds={"eds-new": "1"}, eds={"eds-new": "1"}, lds={"l": "2"}, rds={"80": "eds-new"}))
    talk.hears("cds", {"eds-new": "1"})
    talk.hears_nothing()
    talk.says("eds", "eds-new")
    talk.hears("eds", {"eds-new": "1"})
    talk.acks("eds")
    talk.acks("cds")
    talk.hears("lds", {"l": "2"})
    talk.hears("rds", {"80": "eds-new"})
    talk.acks("lds")
    talk.hears_nothing()
    talk.acks("rds")
    talk.hears("cds", gone=("eds-old",))
    talk.says("eds", drop=("eds-old",))
    talk.acks("cds")
    talk.hears_nothing()


def test_a_cluster_stays_while_a_refused_route_keeps_using_it(delta, world):
    talk = delta(world(cds={"old": "1"}, rds={"80": "to-old"}))
    talk.says("cds")
    talk.hears("cds", {"old": "1"})
    talk.acks("cds")
    talk.says("rds", "80")
    talk.hears("rds", {"80": "to-old"})
    talk.acks("rds")
    talk.publishes(world(cds={"new": "1"}, rds={"80": "to-new"}))
    talk.hears("cds", {"new": "1"})
    talk.acks("cds")
    talk.hears("rds", {"80": "to-new"})
    talk.nacks("rds", "bad")
    talk.hears_nothing()
    talk.publishes(world(cds={"new": "1"}, rds={"80": "to-new-2"}))
    talk.hears("rds", {"80": "to-new-2"})
    talk.acks("rds")
    talk.hears("cds", gone=("old",))


def test_a_cluster_that_comes_back_before_it_was_taken_back_is_left_alone(delta, world):
    talk = delta(world(cds={"a": "1"}, lds={"l": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    talk.says("lds")
    talk.hears("lds", {"l": "1"})
    talk.acks("lds")
    talk.publishes(world(lds={"l": "2"}))
    talk.hears("lds", {"l": "2"})
    talk.publishes(world(cds={"a": "1"}, lds={"l": "2"}))
    talk.acks("lds")
    talk.hears_nothing()


def test_one_response_of_a_type_is_on_its_way_and_later_changes_are_merged(delta, world):
    talk = delta(world(cds={"a": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.publishes(world(cds={"a": "2"}))
    talk.publishes(world(cds={"a": "3", "b": "1"}))
    talk.hears_nothing()
    assert talk.state("cds") == "STALE"
    talk.acks("cds")
    talk.hears("cds", {"a": "3", "b": "1"})


def test_a_stale_nonce_answers_nothing_but_its_subscriptions_count(delta, world):
    talk = delta(world(eds={"a": "1", "b": "1"}))
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})
    talk.says("eds", "b", nonce="of-another-stream", error="refused")
    talk.hears_nothing()
    talk.acks("eds")
    talk.hears("eds", {"b": "1"})
    assert talk.quarantined("eds") == {}


def test_resume_sends_only_differences(delta, world):
    talk = delta(world(cds={"a": "1", "b": "2", "new": "1"}, eds={"a": "1", "b": "2"}))
    talk.says("cds", holds={"a": "1", "b": "1", "old": "1"})
    talk.hears("cds", {"b": "2", "new": "1"})
    talk.acks("cds")
    talk.hears_nothing()
    talk.says("eds", "a", "b", holds={"a": "1", "b": "1"})
    talk.hears("eds", {"b": "2"})
    talk.says("lds", holds={"l": "1"})
    talk.hears("lds", gone=("l",))
    talk.says("rds", "80", holds={"80": "1"})
    talk.hears("rds", gone=("80",))
    talk.acks("lds")
    talk.acks("rds")
    talk.hears("cds", gone=("old",))  # last: the client's routes might have used it


def test_resume_without_listeners_takes_clusters_back_in_the_end(delta, world):
    talk = delta(world(cds={"a": "1"}))
    talk.says("cds", holds={"a": "1", "old": "1"})
    talk.hears("cds")
    talk.acks("cds")
    talk.hears_nothing()
    talk.times_out()
    talk.hears("cds", gone=("old",))


def test_resume_with_equal_versions_answers_wildcards_emptily_and_names_not_at_all(delta, world):
    talk = delta(world(cds={"a": "1"}, eds={"a": "1"}, lds={"l": "1"}))
    talk.says("cds", holds={"a": "1"})
    talk.hears("cds")
    talk.acks("cds")
    talk.says("lds", holds={"l": "1"})
    talk.hears("lds")
    talk.says("eds", "a", holds={"a": "1"})
    talk.hears_nothing()
    assert talk.state("eds") == "SYNCED"


def test_a_cluster_that_was_still_warming_gets_its_endpoints_on_the_next_stream(delta, world):
    memory = ProxyMemory()
    view = world(cds={"eds-a": "1", "eds-b": "1"}, eds={"eds-a": "1", "eds-b": "1"})
    talk = delta(view, memory)
    talk.says("cds")
    talk.hears("cds", {"eds-a": "1", "eds-b": "1"})
    talk.says("eds", "eds-b")
    talk.hears("eds", {"eds-b": "1"})
    talk.acks("eds")

    again = delta(view, memory)
    again.says("cds", holds={"eds-a": "1", "eds-b": "1"})
    again.hears("cds")
    again.says("eds", "eds-a", "eds-b", holds={"eds-a": "1", "eds-b": "1"})
    again.hears("eds", {"eds-a": "1"})


def test_unknown_names_and_unserved_types_are_answered(delta, world):
    talk = delta(world())
    talk.says("cds")
    talk.hears("cds")
    talk.acks("cds")
    talk.says("eds", "nobody")
    talk.hears("eds", gone=("nobody",))
    talk.says("type.googleapis.com/example.Unknown")
    talk.hears("other")
    talk.says("sds", "certificate")
    talk.hears("sds", gone=("certificate",))


def test_names_asked_for_again_are_sent_again(delta, world):
    talk = delta(world(eds={"a": "1"}))
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})
    talk.acks("eds")
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})


def test_unsubscribed_names_are_told_no_more(delta, world):
    talk = delta(world(eds={"a": "1", "b": "1"}))
    talk.says("eds", "a", "b")
    talk.hears("eds", {"a": "1", "b": "1"})
    talk.says("eds", drop=("a",))
    talk.acks("eds")
    talk.publishes(world(eds={"b": "2"}))
    talk.hears("eds", {"b": "2"})
    talk.acks("eds")
    talk.says("eds", "a")
    talk.hears("eds", gone=("a",))


def test_wildcard_and_names_together(delta, world):
    talk = delta(world(cds={"a": "1", ".hidden": "1"}))
    talk.says("cds", "*", ".hidden")
    talk.hears("cds", {"a": "1", ".hidden": "1"})
    talk.acks("cds")
    talk.says("cds", "a")
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    talk.says("cds", drop=("a", ".hidden"))
    talk.hears("cds", {"a": "1"}, gone=(".hidden",))  # the wildcard still includes the one, not the other
    talk.acks("cds")
    talk.publishes(world(cds={"a": "2", ".hidden": "2"}))
    talk.hears("cds", {"a": "2"})


def test_the_wildcard_can_be_left_and_taken_up_again(delta, world):
    talk = delta(world(cds={"a": "1", "b": "1"}))
    talk.says("cds")  # without names: everything, as older clients ask
    talk.hears("cds", {"a": "1", "b": "1"})
    talk.acks("cds")
    talk.says("cds", "a", drop=("*",))
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    talk.publishes(world(cds={"a": "1", "b": "2"}))
    talk.hears_nothing()
    talk.says("cds", "*")
    talk.hears("cds", {"b": "2"})


def test_no_names_of_a_type_asked_by_name_subscribe_to_nothing(delta, world):
    talk = delta(world(eds={"a": "1"}))
    talk.says("eds")
    talk.hears_nothing()
    talk.says("eds", "a")
    talk.hears("eds", {"a": "1"})


def test_a_publish_without_known_differences_is_compared_by_version(delta, world):
    talk = delta(world(cds={"a": "1", "b": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "1"})
    talk.acks("cds")
    talk.publishes(world(cds={"b": "2", "c": "1"}), known=False)
    talk.hears("cds", {"b": "2", "c": "1"}, gone=("a",))


def test_a_refused_removal_is_not_repeated_for_ever(delta, world):
    talk = delta(world(cds={"a": "1"}))
    talk.says("cds")
    talk.hears("cds", {"a": "1"})
    talk.acks("cds")
    talk.publishes(world())
    talk.hears("cds", gone=("a",))
    talk.nacks("cds", "no")
    talk.hears_nothing()
    assert talk.state("cds") == "ERROR"


def test_subscriptions_are_bounded(delta, world, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_NAMES", 2)
    monkeypatch.setattr(session_module, "MAX_TYPES", 2)
    talk = delta(world())
    with pytest.raises(ProtocolError, match="more than 2 names"):
        talk.says("eds", "a", "b", "c")
    talk.says("rds", "a")
    with pytest.raises(ProtocolError, match="more than 2 resource types"):
        talk.says("sds", "a")


def test_a_trial_that_became_pointless_holds_nothing_up(delta, world):
    listeners = {"l": "1", "m": "bad"}
    talk = delta(world(cds={"a": "1", "b": "bad"}, lds=listeners))
    talk.says("cds")
    talk.hears("cds", {"a": "1", "b": "bad"})
    talk.says("lds")
    talk.times_out()
    talk.hears("lds", listeners)
    talk.publishes(world(lds=listeners))
    talk.nacks("cds", "refused")
    talk.hears_nothing()  # both are gone, but listeners that may use them are not settled
    talk.nacks("lds", "refused")
    talk.hears("lds", {"l": "1"})
    talk.acks("lds")
    talk.hears("lds", {"m": "bad"})
    talk.nacks("lds", "refused")
    talk.hears("cds", gone=("a", "b"))
    talk.acks("cds")
    talk.hears_nothing()
