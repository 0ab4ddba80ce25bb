"""``tidegate iptables``, ``tidegate clean-iptables``: the rules that capture a workload's traffic; Istio's flags."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.capture.backend import Backend
    from tidegate.capture.kernel import Kernel
    from tidegate.rules.options import CaptureOptions, Surroundings

MAX_TIMEOUT = 600
PORT = click.IntRange(1, 65535)


Callback = TypeVar("Callback")


class Listed(click.ParamType[tuple[str, ...]]):
    """Values separated by commas; empty ones are dropped."""

    name = "a,b,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


class Duration(click.ParamType[float]):
    """A Go duration as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from tidegate.kit import durations

        try:
            found = float(value) if isinstance(value, float) else durations.Duration.parse(str(value)).seconds
        except ValueError as error:
            self.fail(f"{value!r}: expected {error}", param, ctx)
        if not 0 < found <= MAX_TIMEOUT:
            self.fail(f"{value!r}: expected more than 0 s and at most {MAX_TIMEOUT} s", param, ctx)
        return found


LIST = Listed()
DURATION = Duration()


def _option(*names: str, env: tuple[str, ...] = (), **settings: Any) -> Any:
    """An option whose variable is its long name in capitals, as istio-iptables has it."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    variables = env or (long.removeprefix("--").replace("-", "_").upper(),)
    return click.option(*names, envvar=list(variables), **settings)


def _setting(*names: str, **settings: Any) -> Any:
    return _option(*names, default="", type=LIST, **settings)


def _switch(name: str, *names: str, env: tuple[str, ...] = (), help: str) -> Any:  # noqa: A002
    """A flag that may be given a value, --dual-stack=false, as Go's flags may."""
    return _option(
        name, *names, env=env, is_flag=False, flag_value="true", type=click.BOOL, default=False, metavar="", help=help
    )


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
    _option(
        "--istio-inbound-tproxy-mark",
        "-t",
        "inbound_tproxy_mark",
        type=int,
        default=1337,
        show_default=True,
        help="Mark of captured packets.",
    ),
    _option(
        "--istio-inbound-tproxy-route-table",
        "-r",
        "inbound_tproxy_route_table",
        type=int,
        default=133,
        show_default=True,
        help="Routing table of that mark.",
    ),
    _switch("--redirect-dns", env=("ISTIO_META_DNS_CAPTURE", "REDIRECT_DNS"), help="Capture DNS to port 15053."),
    _switch("--capture-all-dns", help="Capture every query to port 53, not only those to resolv.conf's servers."),
    _switch("--drop-invalid", env=("INVALID_DROP", "DROP_INVALID"), help="Drop packets of no known connection."),
    _switch("--dual-stack", env=("ISTIO_DUAL_STACK", "DUAL_STACK"), help="Capture IPv6 if any address is IPv6."),
    _option("--network-namespace", default=None, help="Name or path of the namespace. [default: this one]"),
    _option(
        "--force-iptables-binary",
        type=click.Choice(["", "legacy", "nft"]),
        default="",
        help="Which iptables. [default: by what is there]",
    ),
    _switch("--native-nftables", help="Write nftables rules with nft, in tables of their own, instead of iptables'."),
    _switch("--cni-mode", help="For a network plugin: with --network-namespace; its own lock, every DNS query."),
    _switch("--dry-run", "-n", help="Print what would be written, and change nothing."),
)
_ACTIONS = (
    _switch("--cleanup-only", help="Remove what was applied with the same options, and apply nothing."),
    _switch("--skip-rule-apply", help="Change nothing: something else has applied the rules."),
    _switch("--reconcile", help="Accepted: rules that differ are always replaced, without a gap."),
    _switch("--force-apply", help="Write the rules again although they are there already."),
    _switch("--run-validation", help="Then test by a connection that they hold; exit 126 if they do not."),
    _option("--iptables-probe-port", type=PORT, default=15002, show_default=True, help="Port that the test dials."),
    _option("--probe-timeout", type=DURATION, default="5s", show_default=True, help="How long the test waits."),
    click.option("--verify", is_flag=True, help="Only tell where the kernel differs from these options; exit 1 then."),
)


_LOGGING = (
    click.option("--log_output_level", hidden=True, expose_value=False, help="Accepted for Istio's init container."),
    click.option("--log_as_json", is_flag=True, hidden=True, expose_value=False, help="Accepted likewise."),
)


def _with_options(*groups: tuple[Any, ...]) -> "Callable[[Callback], Callback]":
    def decorated(command: "Callback") -> "Callback":
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorated


@click.command()
@_with_options(_OPTIONS, _ACTIONS, _LOGGING)
def iptables(**given: Any) -> None:
    """Apply, show or remove the rules that lead a workload's connections through its sidecar.

    Flags, short forms and variables are those of istio-iptables. Applying verifies what the kernel holds afterwards
    and puts everything back if it differs; applying twice changes nothing. Rules of other options, another backend or
    Istio itself are replaced so that no connection escapes meanwhile.

    \b
    Exit codes: 0 done; 1 refused, failed, or different with --verify; 2 wrong usage; 126 the test found no capture.

    \b
    Examples:
      tidegate iptables -p 15001 -z 15006 -u 1337 -g 1337 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020
      tidegate iptables -i '*' -b '*' --native-nftables --dry-run
      tidegate iptables -i '*' -b '*' --network-namespace web --cleanup-only
    """
    actions = {name: given.pop(name) for name in _ACTION_NAMES}
    target = _target(given)
    if actions["cleanup_only"]:
        _cleanup(target)
    elif actions["verify"]:
        _verify(target)
    elif target.dry_run:
        _show(target)
    else:
        if not actions["skip_rule_apply"]:
            _apply(target, force=actions["force_apply"])
        if actions["run_validation"]:
            _validate(target, actions["iptables_probe_port"], actions["probe_timeout"])


@click.command("clean-iptables")
@_with_options(_OPTIONS, _LOGGING)
def clean_iptables(**given: Any) -> None:
    """Remove the rules that lead a workload's connections through a sidecar, tidegate's or Istio's.

    Of every backend (iptables-nft, iptables-legacy, native nftables), with TPROXY's routes. Rules of others stay. Give
    the options with which they were applied: excluded interfaces and TPROXY's mark are told from others' rules by them.

    \b
    Examples:
      tidegate clean-iptables --network-namespace web
      tidegate clean-iptables --dry-run
    """
    _cleanup(_target(given))


_ACTION_NAMES = (
    "cleanup_only",
    "skip_rule_apply",
    "reconcile",
    "force_apply",
    "run_validation",
    "iptables_probe_port",
    "probe_timeout",
    "verify",
)


@dataclass(frozen=True)
class Target:
    """What to capture, where, and with which program."""

    options: "CaptureOptions"
    kernel: "Kernel"
    backend: "Backend"
    forced: Any
    dry_run: bool

    def surroundings(self) -> "Surroundings":
        """What the namespace is like; doubtful settings are told on the way."""
        from tidegate.capture.surroundings import observe
        from tidegate.rules.advice import advice

        found = observe(self.kernel, self.options.dual_stack)
        for line in advice(self.options, found):
            click.echo(f"warning: {line}", err=True)
        return found


def _target(given: dict[str, Any]) -> Target:
    from tidegate.capture.kernel import Kernel, pod_lock

    namespace, forced = given.pop("network_namespace"), given.pop("force_iptables_binary")
    dry_run, native, cni = given.pop("dry_run"), given.pop("native_nftables"), given.pop("cni_mode")
    for line in _contradictions(namespace, forced, native=native, cni=cni):
        click.echo(f"warning: {line}", err=True)
    if cni:  # the Pod's resolv.conf is not at hand, so its servers are not known
        given["capture_all_dns"] = given["capture_all_dns"] or given["redirect_dns"]
    kernel = Kernel(netns=namespace or None, binary=forced)
    if cni:
        kernel = Kernel(netns=kernel.netns, binary=forced, lock_file=pod_lock(kernel))
    return Target(_capture_options(given), kernel, "nftables" if native else "iptables", forced, dry_run)


def _contradictions(namespace: str | None, forced: str, *, native: bool, cni: bool) -> "Iterator[str]":
    if forced and native:
        yield f"--force-iptables-binary={forced} has no effect with --native-nftables, which uses nft"
    if cni and not namespace:
        yield "--cni-mode without --network-namespace: the rules are those of this namespace, not of a Pod's"


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


def _show(target: Target) -> None:
    from tidegate.rules.capture_rules import rule_set
    from tidegate.rules.native import native_tables, transaction
    from tidegate.rules.text import to_restore

    surroundings = target.surroundings()
    if target.backend == "nftables":
        text = "".join(f"{line}\n" for line in transaction(native_tables(target.options, surroundings)))
    else:
        ipv6 = to_restore(rule_set(target.options, surroundings, "ipv6"))
        text = to_restore(rule_set(target.options, surroundings)) + (f"# ip6tables\n{ipv6}" if ipv6 else "")
    _tell(text)


def _tell(text: str) -> None:
    """A dry run's answer: printed, and written where the variable says, as istio-iptables does."""
    click.echo(text, nl=False)
    file = os.environ.get("DRY_RUN_FILE_PATH")
    if not file:
        return
    try:
        Path(file).write_text(text)
    except OSError as error:
        raise click.ClickException(f"DRY_RUN_FILE_PATH: {file} cannot be written: {error.strerror}") from error


def _apply(target: Target, *, force: bool) -> None:
    from tidegate.capture.install import install

    surroundings = target.surroundings()
    kernel, name, reason = _chosen(target)
    outcome = install(target.options, surroundings, kernel, target.backend, force=force)
    if not _first_time(outcome.found):
        for line in outcome.found:
            click.echo(f"was: {line}", err=True)
    for line in outcome.bypasses:
        click.echo(f"warning: {_BYPASS.format(line)}", err=True)
    if outcome.changed:
        click.echo(f"rules applied and verified, with {name}: {reason}")
    else:
        click.echo(f"the rules are there already ({name}); nothing was changed")


_BYPASS = (
    "{} was there before and was left: what comes or goes there is not captured. If an earlier set of rules excluded "
    "this interface, name it to tidegate clean-iptables --istio-exclude-interfaces, then apply again"
)


def _first_time(found: tuple[str, ...]) -> bool:
    """Whether nothing was there before: then each finding only says so."""
    return all("missing" in line for line in found) and any(
        line.endswith(("ISTIO_OUTPUT: the chain is missing", "istio-proxy-nat: the table is missing")) for line in found
    )


def _chosen(target: Target) -> "tuple[Kernel, str, str]":
    """The kernel by the program that is used, the program's name, and why it."""
    import msgspec

    from tidegate.capture.backend import choose

    if target.backend == "nftables":
        return target.kernel, "native nftables", "asked for by --native-nftables"
    choice = choose(target.kernel, target.forced)
    return msgspec.structs.replace(target.kernel, binary=choice.binary), choice.name, choice.reason


def _verify(target: Target) -> None:
    from tidegate.capture.install import verified

    surroundings = target.surroundings()
    kernel, name, _ = _chosen(target)
    differences = verified(target.options, surroundings, kernel, target.backend)
    for line in differences:
        click.echo(line)
    if differences:
        sys.exit(1)
    click.echo(f"the kernel holds these rules ({name})")


def _validate(target: Target, port: int, timeout: float) -> None:
    from tidegate.capture.selftest import EXIT_CODE, SelfTest, SelfTestError, run_selftest

    surroundings = target.surroundings()
    try:
        test = SelfTest(probe_port=port, timeout=timeout)
        captured = run_selftest(target.options, test, target.kernel, surroundings.ipv6)
    except SelfTestError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_CODE)
    click.echo(f"captured: {', '.join(captured)}")


def _cleanup(target: Target) -> None:
    from tidegate.capture.install import planned_removal, uninstall

    if target.dry_run:
        _tell("".join(f"{line}\n" for line in planned_removal(target.options, target.kernel)))
        return
    outcome = uninstall(target.options, kernel=target.kernel)
    click.echo("rules removed" if outcome.changed else "there were no rules; nothing was changed")
