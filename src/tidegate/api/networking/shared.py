"""What several kinds of networking.istio.io are made of."""

from typing import Annotated

from msgspec import field

from tidegate.api.fields import Message, UInt32, doc


class WorkloadSelector(Message, frozen=True):
    """networking.v1alpha3.WorkloadSelector."""

    labels: Annotated[dict[str, str], doc("label equality set, all must match", max_properties=256)] = field(
        default_factory=dict
    )


class PortSelector(Message, frozen=True):
    """networking.v1alpha3.PortSelector."""

    number: Annotated[UInt32, doc("port number")] = 0


class Destination(Message, frozen=True):
    """networking.v1alpha3.Destination."""

    host: Annotated[str, doc("service name (short resolves in rule's namespace)", required=True)] = ""
    subset: Annotated[str, doc("DestinationRule subset name")] = ""
    port: Annotated[PortSelector | None, doc("port selector; needed when service has several")] = None


class StringMatch(Message, frozen=True):
    """networking.v1alpha3.StringMatch."""

    exact: Annotated[str | None, doc("equal", oneof="match_type")] = None
    prefix: Annotated[str | None, doc("starts with", oneof="match_type")] = None
    regex: Annotated[str | None, doc("RE2 full match", oneof="match_type")] = None


class Percent(Message, frozen=True):
    """networking.v1alpha3.Percent."""

    value: Annotated[float, doc("0.0-100.0")] = 0.0


class MatchLabelsSelector(Message, frozen=True):
    """type.v1beta1.WorkloadSelector."""

    match_labels: Annotated[dict[str, str], doc("labels all equal", max_properties=4096)] = field(default_factory=dict)
