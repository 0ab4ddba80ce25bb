import pytest

from tidegate.rules.annotations import capture_options
from tidegate.rules.options import ALL, InvalidCaptureOptionsError


def test_a_pod_that_says_nothing_is_captured_whole() -> None:
    options = capture_options({})
    assert (options.inbound_ports, options.service_cidr) == (ALL, ALL)
    assert options.local_exclude_ports == ("15020", "15021", "15090")
    assert options.proxy_uid == options.proxy_gid == ("1337",)


def test_what_a_pod_says_counts() -> None:
    annotations = {
        "traffic.sidecar.istio.io/includeInboundPorts": "",
        "traffic.sidecar.istio.io/excludeInboundPorts": "22, 23",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8",
        "traffic.sidecar.istio.io/kubevirtInterfaces": "old0",
        "istio.io/reroute-virtual-interfaces": "new0,new1",
        "sidecar.istio.io/interceptionMode": "TPROXY",
    }
    options = capture_options(annotations, {"ISTIO_META_DNS_CAPTURE": "true"}, user=0, group=7)
    assert options.inbound_ports == ()
    assert options.local_exclude_ports[:2] == ("22", "23")
    assert options.service_exclude_cidr == ("10.0.0.0/8",)
    assert options.kube_virt_interfaces == ("new0", "new1")
    assert options.tproxy and options.redirect_dns and options.capture_all_dns
    assert (options.proxy_uid, options.proxy_gid) == (("1337",), ("7",))


def test_excluded_ports_are_told_once() -> None:
    ports = capture_options({"traffic.sidecar.istio.io/excludeInboundPorts": "15090,22,22"}).local_exclude_ports
    assert ports == ("15090", "22", "15020", "15021")


@pytest.mark.parametrize(("value", "known"), [("T", True), ("True", True), ("yes", False), ("tRUE", False)])
def test_settings_are_read_as_go_reads_them(value: str, known: bool) -> None:
    assert capture_options({}, {"INVALID_DROP": value}).drop_invalid is known


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InvalidCaptureOptionsError, match=r"interceptionMode\]: expected REDIRECT or TPROXY"):
        capture_options({"sidecar.istio.io/interceptionMode": "MAGIC"})
