"""Changes for a busy session are merged."""

import asyncio

import pytest

from tidegate.xds.fixed import FixedView
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.source import SubscriptionEnded

VIEWS = [FixedView(str(number), {}) for number in range(3)]


async def test_changes_are_merged_until_they_are_taken():
    box = Mailbox(VIEWS[0])
    box.publish(VIEWS[1], {"x": frozenset("a")}, 5.0)
    box.publish(VIEWS[2], {"x": frozenset("b"), "y": frozenset("c")}, 6.0)
    update = await box.next()
    assert (update.view, update.delta, update.since) == (VIEWS[2], {"x": frozenset("ab"), "y": frozenset("c")}, 5.0)
    box.publish(VIEWS[1], {"x": frozenset("d")})
    assert (await box.next()).delta == {"x": frozenset("d")}


async def test_an_unknown_difference_swallows_the_known_ones():
    box = Mailbox(VIEWS[0])
    box.publish(VIEWS[1], None)
    box.publish(VIEWS[2], {"x": frozenset("b")})
    assert (await box.next()).delta is None


async def test_a_single_change_is_passed_on_as_the_shared_object():
    box, delta = Mailbox(VIEWS[0]), {"x": frozenset("a")}
    waiting = asyncio.create_task(box.next())
    await asyncio.sleep(0)
    box.publish(VIEWS[1], delta)
    assert (await waiting).delta is delta


async def test_the_end_is_told():
    box = Mailbox(VIEWS[0])
    box.end("gone")
    with pytest.raises(SubscriptionEnded, match="gone"):
        await box.next()
