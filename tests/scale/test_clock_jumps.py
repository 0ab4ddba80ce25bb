"""The wall clock of an API server and a control plane is set while they run: watches, tokens and rest go on."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.envoy.test_control_plane import DEADLINE, Plane, populate
from tests.faketime import DAY, NEEDED, Clock, jumps, seconds_of_work
from tests.scale.planes import endpoint_is, moved, reference

pytestmark = NEEDED

LOOK_SECONDS = 2.0
BUSY = 0.5
"""Share of a processor that nobody uses who has nothing to do."""


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def plane(clock: Clock, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    with monkeypatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        found = Plane(tmp_path_factory.mktemp("plane"))
    yield found
    found.stop()


async def at_rest(plane: Plane) -> None:
    processes = [each._process.pid for each in (plane.api, plane.discovery)]
    before = [seconds_of_work(pid) for pid in processes]
    await asyncio.sleep(LOOK_SECONDS)
    used = [seconds_of_work(pid) - was for pid, was in zip(processes, before, strict=True)]
    assert max(used) < BUSY * LOOK_SECONDS, used


async def test_watches_and_streams_outlive_a_clock_that_is_set(plane: Plane, clock: Clock) -> None:
    async with plane.store() as store:
        token = await populate(store)
        async with reference(plane, token) as client:
            for number, seconds in enumerate(jumps(), 1):
                clock.set(seconds)
                await moved(store, "a", f"10.70.0.{number}")
                await client.until(endpoint_is("a", f"10.70.0.{number}"), DEADLINE)
                assert client.ended is None, seconds
                await at_rest(plane)
    for each in (plane.api, plane.discovery):
        assert each.running and "Traceback" not in each.errors.read_text()


@pytest.mark.parametrize("seconds", [DAY, -DAY], ids=["forward", "back"])
async def test_parts_find_each_other_again_after_the_clock_was_set(
    plane: Plane, clock: Clock, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control plane comes back under another clock: certificates hold, and tokens by the server's clock."""
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    async with plane.store() as store:
        await populate(store)
        pod = await store.get("Pod", "shop", "web")
        clock.set(seconds)
        plane.discovery.kill()
        plane.discovery = plane.start_discovery()
        token = await store.create_token("shop", pod["spec"]["serviceAccountName"], audiences=("istio-ca",), pod=pod)
        async with reference(plane, token) as client:
            await moved(store, "a", "10.71.0.1")
            await client.until(endpoint_is("a", "10.71.0.1"), DEADLINE)
            assert client.ended is None
