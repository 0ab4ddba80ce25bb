"""Culprits are found as whole words."""

import pytest

from tidegate.xds.acceptance import culprits

NAMES = ["outbound|80||a.b", "outbound|80||a.bc", "80", "8080", "web"]


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("Error adding/updating cluster(s) outbound|80||a.b: bad", ["outbound|80||a.b"]),
        ("Error adding/updating cluster(s) outbound|80||a.bc: bad", ["outbound|80||a.bc"]),
        ("outbound|80||a.b.", ["outbound|80||a.b"]),
        ("port 80 of 8080", []),
        ("route '80': bad", ["80"]),
        ('web: bad, "8080"', ["8080", "web"]),
        ("webs and cobweb and web-1 and www.web", []),
        ("", []),
    ],
)
def test_culprits(error, found):
    assert culprits(error, NAMES) == found
