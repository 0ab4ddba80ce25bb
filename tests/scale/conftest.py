"""Real processes, at the sizes and under the strain that they are made for."""

from collections.abc import Iterator

import pytest

from tests.envoy.test_control_plane import Plane


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    found = Plane(tmp_path_factory.mktemp("plane"))
    yield found
    found.stop()
