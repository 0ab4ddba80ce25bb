"""What is valid, and most likely not what its author means: told of manifests that are judged together."""

from collections.abc import Iterator

from tidegate.app.offline import findings
from tidegate.app.offline.findings import Finding
from tidegate.app.offline.pitfalls import pods, policies, providers, rivals, routes, services
from tidegate.app.offline.world import Offline


def pitfalls(offline: Offline) -> Iterator[Finding]:
    """A warning for each, in the order of the objects.

    Only what the manifests themselves hold is judged: of a host, a gateway or a workload that may well be elsewhere
    nothing is said.
    """
    found = {
        (ref, field, text)
        for judge in (each.judge for each in (routes, services, policies, pods, rivals, providers))
        for ref, field, text in judge(offline)
    }
    for ref, field, text in sorted(found):
        place = offline.place(ref, field)
        if place is not None:
            yield findings.warning(place, str(ref), field, text)
