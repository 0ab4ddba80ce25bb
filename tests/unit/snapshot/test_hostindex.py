"""HostIndex agrees with comparing every host."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit import hosts
from tidegate.snapshot.hostindex import HostIndex

labels = st.sampled_from(("a", "b", "ab"))
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
some_host = st.one_of(names, names.map(lambda n: f"*.{n}"), names.map(lambda n: f"*{n}"), st.just("*"))


@given(known=st.lists(some_host, max_size=8), dropped=st.lists(some_host, max_size=3), asked=some_host)
def test_lookups_equal_a_walk_over_all_hosts(known: list[str], dropped: list[str], asked: str) -> None:
    index: HostIndex[str] = HostIndex()
    for host in known:
        index = index.put(host, host)
    for host in dropped:
        index = index.drop(host)
    left = set(known) - set(dropped)
    assert {h for h, _ in index.covering(asked)} == {h for h in left if hosts.covers(h, asked)}
    assert {h for h, _ in index.meeting(asked)} == {h for h in left if hosts.matches(h, asked)}
    order = [hosts.specificity(h) for h, _ in index.meeting(asked)]
    assert order == sorted(order)


def test_letter_case_does_not_count() -> None:
    index = HostIndex[int]().put("A.example", 1)
    assert index.get("a.EXAMPLE") == 1
    assert len(index.drop("a.example")) == 0
