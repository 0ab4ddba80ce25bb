"""How many copies of a request a far side sees, by what explain says of mirrors."""

import re
from collections.abc import Iterator

from tests.equivalence.live.far import SLOW, SPEAKS_FIRST
from tests.equivalence.live.stage import OUTSIDE_PORTS, own
from tidegate.answer.report import Report, ReportEnd
from tidegate.explain.balance import balance
from tidegate.explain.clusters import ANY_HOST
from tidegate.explain.config import EnvoyConfig

_WHOLE = re.compile(r"(?P<cluster>.*) \(100%\)")


def most(end: ReportEnd) -> int:
    return len(list(_mirrored(end)))


def least(config: EnvoyConfig, report: Report) -> int:
    """Copies to clusters whose every endpoint is of the world outside, and answers."""
    ends = report.ends[:1] if len(report.ends) == 1 and report.ends[0].kind == "forwarded" else ()
    return sum(1 for end in ends for name in _mirrored(end) if _heard(config, name))


def _mirrored(end: ReportEnd) -> Iterator[str]:
    """Clusters that get a copy of each request."""
    yield from (found["cluster"] for each in end.mirrors if (found := _WHOLE.fullmatch(each)))


def _heard(config: EnvoyConfig, name: str) -> bool:
    cluster = config.cluster(name)
    if cluster is None or cluster.type != "EDS":
        return False
    shares = balance(cluster, config.load_assignment(cluster), ANY_HOST).shares
    addresses = [str(host.endpoint.address) for host, _ in shares]
    return bool(addresses) and all(_answers(each) for each in addresses)


def _answers(address: str) -> bool:
    port = int(address.rpartition(":")[2])
    return not own(address) and port in OUTSIDE_PORTS and port not in (SLOW, *SPEAKS_FIRST)
