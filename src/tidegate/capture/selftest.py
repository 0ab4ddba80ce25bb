"""The self-test of capture: a connection to a port where nobody listens must arrive at the proxy's port.

It dials an address of its own as the proxy's user, which a sidecar's rules lead to the inbound port, and asks the
kernel where the connection was going before (SO_ORIGINAL_DST).
"""

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator

import msgspec

from tidegate.capture.kernel import Kernel
from tidegate.capture.surroundings import Address, addresses_of
from tidegate.kit.errors import TidegateError
from tidegate.rules.options import CaptureOptions

EXIT_CODE = 126
"""What Istio's repair controller looks for in the container istio-validation."""
_SO_ORIGINAL_DST = 80
_AGAIN = 0.5
"""Seconds after which it is dialled again: a network plugin may still be writing the rules."""
_PASSTHROUGH_V6 = ipaddress.ip_address("::6")


class SelfTestError(TidegateError):
    """Capture does not do what it should, or could not be tested."""


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """What is dialled and how long is waited."""

    probe_port: int = 15002
    """A port where nobody listens."""
    timeout: float = 5.0
    """Seconds for each address, over which it is dialled again and again."""


def run_selftest(options: CaptureOptions, test: SelfTest, kernel: Kernel, ipv6: bool) -> list[str]:
    """Dial an address of each family in use and return those that were captured.

    Raises SelfTestError for the first one that was not. Given a namespace, this process enters it and stays there.
    """
    found = [each for each in addresses_of(kernel) if not (each.is_loopback or each.is_link_local)]
    first: dict[int, Address] = {}
    for address in found:
        if address != _PASSTHROUGH_V6 and (address.version == 4 or ipv6):
            first.setdefault(address.version, address)
    if not first:
        raise SelfTestError("capture test: no address was found but loopback and link-local ones; expected one to dial")
    _enter(kernel)
    with contextlib.ExitStack() as stack:
        ports = (options.envoy_port, options.inbound_capture_port)
        listeners = [stack.enter_context(_listener(version, port)) for version in first for port in ports]
        for address in first.values():
            _probe(address, listeners, options, test)
    return [str(address) for address in first.values()]


def _enter(kernel: Kernel) -> None:
    path = kernel.netns_path()
    if path is not None:
        from pyroute2 import netns

        netns.setns(path)


def _listener(version: int, port: int) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("", port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise SelfTestError(
            f"capture test: port {port} cannot be listened on ({error.strerror}); run it before the proxy starts"
        ) from error
    return listener


def _probe(address: Address, listeners: list[socket.socket], options: CaptureOptions, test: SelfTest) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    deadline = time.monotonic() + test.timeout
    original = None
    while original is None and (left := deadline - time.monotonic()) > 0:
        with _as_proxy(options):
            client = socket.socket(family, socket.SOCK_STREAM)
        with client:
            client.setblocking(False)
            client.bind((str(address), 0))
            client.connect_ex((str(address), test.probe_port))
            original = _arrived(listeners, client.getsockname()[:2], min(left, _AGAIN))
    if original is None:
        raise SelfTestError(
            f"capture test: connections to {address} port {test.probe_port} did not arrive at the proxy's ports within "
            f"{test.timeout:g} s; the rules are missing or do not hold here. Apply them with the same options; "
            "tidegate iptables --verify tells what differs"
        )
    if original != (address, test.probe_port):
        raise SelfTestError(
            f"capture test: a connection to {address} port {test.probe_port} arrived, but the kernel says that it was "
            f"for {original[0]} port {original[1]}; expected its first destination (SO_ORIGINAL_DST)"
        )


def _arrived(listeners: list[socket.socket], client: tuple[str, int], seconds: float) -> tuple[Address, int] | None:
    """The original destination of the client's connection; None when it does not arrive in time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for listener in select.select(listeners, [], [], left)[0]:
            connection, peer = listener.accept()
            with connection:
                if peer[1] == client[1]:
                    return _original(connection)
    return None


def _original(connection: socket.socket) -> tuple[Address, int]:
    try:
        if connection.family == socket.AF_INET:
            port, packed = struct.unpack("!2xH4s8x", connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16))
        else:
            told = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            port, packed = struct.unpack("!2xH4x16s4x", told)
    except OSError as error:
        raise SelfTestError(f"capture test: the kernel does not tell where a connection was going: {error}") from error
    return ipaddress.ip_address(packed), port


@contextlib.contextmanager
def _as_proxy(options: CaptureOptions) -> Iterator[None]:
    """Sockets made within belong to the proxy's user, whose calls to its own address are captured."""
    before, wanted = os.geteuid(), int(options.proxy_uid[0])
    if before != 0:
        if str(before) not in options.proxy_uid:
            raise SelfTestError(f"capture test: run it as root or as the proxy's user {wanted} (this is {before})")
        yield
        return
    os.seteuid(wanted)
    try:
        yield
    finally:
        os.seteuid(before)
