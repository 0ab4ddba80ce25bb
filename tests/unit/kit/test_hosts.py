import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit.hosts import covers, is_wildcard, matches, resolve_short, specificity

HOSTS = st.sampled_from(["a", "b.a", "c.b.a", "d.c.b.a", "x.a"])
ANY = HOSTS | HOSTS.map(lambda host: f"*.{host}") | st.just("*")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.com", "a.com", True),
        ("A.com", "a.COM", True),
        ("a.com", "b.com", False),
        ("*.com", "a.com", True),
        ("*.a.com", "a.com", False),
        ("*.a.com", "b.a.com", True),
        ("*", "a", True),
        ("*", "*.a", True),
        ("*.a.com", "*.com", True),
        ("*.a.com", "*.b.com", False),
    ],
)
def test_names_in_common(first: str, second: str, expected: bool) -> None:
    assert matches(first, second) is expected
    assert matches(second, first) is expected


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("a.com", "a.com", True),
        ("a.com", "*.com", False),
        ("*.com", "a.com", True),
        ("*.com", "*.a.com", True),
        ("*.com", "*.com", True),
        ("*.a.com", "*.com", False),
        ("*.a.com", "a.com", False),
        ("*", "*.com", True),
        ("*", "anything", True),
        ("*.com", "*", False),
        ("*.COM", "a.com", True),
    ],
)
def test_one_host_within_another(pattern: str, host: str, expected: bool) -> None:
    assert covers(pattern, host) is expected


@given(ANY, ANY)
def test_what_covers_also_matches(first: str, second: str) -> None:
    if covers(first, second):
        assert matches(first, second)


@given(ANY, ANY, HOSTS)
def test_covering_is_about_names(pattern: str, host: str, name: str) -> None:
    if covers(pattern, host) and matches(host, name):
        assert matches(pattern, name)


def test_most_specific_first() -> None:
    hosts = ["*", "*.com", "a.com", "*.a.com", "b.a.com"]
    assert sorted(hosts, key=specificity) == ["b.a.com", "a.com", "*.a.com", "*.com", "*"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("web", "web.shop.svc.cluster.local"),
        ("web.other", "web.other"),
        ("*", "*"),
        ("*.com", "*.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_short_names_belong_to_the_namespace(host: str, expected: str) -> None:
    assert resolve_short(host, "shop", "cluster.local") == expected


def test_wildcards() -> None:
    assert [is_wildcard(host) for host in ("*", "*.a", "*a", "a.*", "a")] == [True, True, True, False, False]
