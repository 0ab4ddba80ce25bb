import resource
from collections.abc import Iterator

import pytest

from tidegate.app import files


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_files_as_the_hard_limit_allows(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    files.allow_many()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
