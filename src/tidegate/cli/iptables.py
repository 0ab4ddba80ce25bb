"""``tidegate iptables``: apply, show or remove the rules that capture a workload's traffic; istio-iptables' flags."""

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tidegate.capture.kernel import Kernel
    from tidegate.rules.options import CaptureOptions, Surroundings

PORT = click.IntRange(1, 65535)


class Listed(click.ParamType[tuple[str, ...]]):
    """Values separated by commas; empty ones are dropped."""

    name = "a,b,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


LIST = Listed()


def _option(*names: str, env: tuple[str, ...] = (), **settings: Any) -> Any:
    """An option whose variable is its long name in capitals, as istio-iptables has it."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    variables = env or (long.removeprefix("--").replace("-", "_").upper(),)
    return click.option(*names, envvar=list(variables), **settings)


def _setting(*names: str, **settings: Any) -> Any:
    return _option(*names, default="", type=LIST, **settings)


def _switch(name: str, *names: str, env: tuple[str, ...] = (), help: str) -> Any:  # noqa: A002
    return _option(name, *names, env=env, is_flag=True, help=help)


_OPTIONS = (
    _option("--envoy-port", "-p", type=PORT, default=15001, show_default=True, help="Port of the outbound listener."),
    _option(
        "--inbound-capture-port", "-z", type=PORT, default=15006, show_default=True, help="Port of the inbound one."
    ),
    _option(
        "--inbound-tunnel-port", "-e", type=PORT, default=15008, show_default=True, help="HBONE port, not captured."
    ),
    _setting("--proxy-uid", "-u", help="Users not captured. [default: the user $ENVOY_USER, else 1337]"),
    _setting("--proxy-gid", "-g", help="Groups not captured. [default: the value of --proxy-uid]"),
    _option(
        "--istio-inbound-interception-mode",
        "-m",
        "inbound_interception_mode",
        type=click.Choice(["", "REDIRECT", "TPROXY"]),
        default="",
        help="How inbound connections are captured; empty is REDIRECT.",
    ),
    _setting("--istio-inbound-ports", "-b", "inbound_ports", help="Inbound ports to capture, or *; empty: none."),
    _setting("--istio-local-exclude-ports", "-d", "local_exclude_ports", help="Inbound ports left alone; with -b *."),
    _setting("--istio-service-cidr", "-i", "service_cidr", help="Destinations to capture, or *; empty: none."),
    _setting("--istio-service-exclude-cidr", "-x", "service_exclude_cidr", help="Destinations left alone."),
    _setting("--istio-outbound-ports", "-q", "outbound_ports", help="Destination ports always captured."),
    _setting("--istio-local-outbound-ports-exclude", "-o", "local_outbound_ports_exclude", help="Ports left alone."),
    _setting("--istio-exclude-interfaces", "-c", "exclude_interfaces", help="Interfaces left alone."),
    _setting("--kube-virt-interfaces", "-k", "kube_virt_interfaces", help="Interfaces of virtual machines."),
    _option("--istio-inbound-tproxy-mark", "-t", "inbound_tproxy_mark", type=int, default=1337, show_default=True),
    _option("--istio-inbound-tproxy-route-table", "-r", "inbound_tproxy_route_table", type=int, default=133),
    _switch("--redirect-dns", env=("REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"), help="Capture DNS to port 15053."),
    _switch("--capture-all-dns", help="Capture every query to port 53, not only those to resolv.conf's servers."),
    _switch("--drop-invalid", env=("DROP_INVALID", "INVALID_DROP"), help="Drop packets of no known connection."),
    _switch("--dual-stack", env=("DUAL_STACK", "ISTIO_DUAL_STACK"), help="Capture IPv6 if any address is IPv6."),
    _option("--network-namespace", default=None, help="Name or path of the namespace. [default: this one]"),
    _option("--force-iptables-binary", type=click.Choice(["", "legacy", "nft"]), default="", help="Which iptables."),
    _switch("--dry-run", "-n", help="Print what iptables-restore would read, and change nothing."),
    _switch("--cleanup-only", help="Remove what was applied with the same options, and apply nothing."),
    _switch("--skip-rule-apply", help="Change nothing: something else has applied the rules."),
)


def _with_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_with_options
def iptables(**given: Any) -> None:
    """Apply, show or remove the rules that lead a workload's connections through its sidecar.

    Flags, short forms and variables are those of istio-iptables. Applying verifies what the kernel holds afterwards
    and puts everything back if it differs; applying twice changes nothing.

    \b
    Examples:
      tidegate iptables -p 15001 -z 15006 -u 1337 -g 1337 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020
      tidegate iptables -i '*' -b '*' --dry-run
      tidegate iptables -i '*' -b '*' --network-namespace web --cleanup-only
    """
    from tidegate.capture.kernel import Kernel
    from tidegate.capture.surroundings import observe

    kernel = Kernel(netns=given.pop("network_namespace"), binary=given.pop("force_iptables_binary"))
    dry_run, cleanup, skip = given.pop("dry_run"), given.pop("cleanup_only"), given.pop("skip_rule_apply")
    options = _capture_options(given)
    if cleanup:
        _cleanup(options, kernel, dry_run)
        return
    surroundings = observe(kernel, options.dual_stack)
    if dry_run:
        _show(options, surroundings)
    elif not skip:
        _apply(options, surroundings, kernel)


def _capture_options(given: dict[str, Any]) -> "CaptureOptions":
    from tidegate.rules.options import ALL, CaptureOptions, check

    uid = given.pop("proxy_uid") or (_proxy_user(),)
    gid = given.pop("proxy_gid") or uid
    environment: dict[str, Any] = {
        "outbound_owner_groups": _listed("ISTIO_OUTBOUND_OWNER_GROUPS", ALL),
        "outbound_owner_groups_exclude": _listed("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", ()),
        "ipv4_loopback_cidr": os.environ.get("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR") or "127.0.0.1/32",
    }
    options = CaptureOptions(proxy_uid=uid, proxy_gid=gid, **environment, **given)
    check(options)
    return options


def _listed(variable: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = os.environ.get(variable)
    return default if value is None else LIST.convert(value, None, None)


def _proxy_user() -> str:
    import pwd

    try:
        return str(pwd.getpwnam(os.environ.get("ENVOY_USER") or "istio-proxy").pw_uid)
    except KeyError:
        return "1337"


def _show(options: "CaptureOptions", surroundings: "Surroundings") -> None:
    from tidegate.rules.capture_rules import rule_set
    from tidegate.rules.text import to_restore

    click.echo(to_restore(rule_set(options, surroundings)), nl=False)
    ipv6 = to_restore(rule_set(options, surroundings, "ipv6"))
    if ipv6:
        click.echo(f"# ip6tables\n{ipv6}", nl=False)


def _apply(options: "CaptureOptions", surroundings: "Surroundings", kernel: "Kernel") -> None:
    from tidegate.capture.install import install

    outcome = install(options, surroundings, kernel)
    click.echo("rules applied and verified" if outcome.changed else "the rules are there already; nothing was changed")


def _cleanup(options: "CaptureOptions", kernel: "Kernel", dry_run: bool) -> None:
    from tidegate.capture.install import uninstall

    if dry_run:
        raise click.UsageError("--cleanup-only with --dry-run: what is removed depends on the kernel; leave one away")
    outcome = uninstall(options, kernel=kernel)
    click.echo("rules removed" if outcome.changed else "there were no rules; nothing was changed")
