"""The files a program of a lab finds: its private /etc files and its working folder."""

import os
import shutil
from pathlib import Path

from tidegate.kit.errors import TidegateError
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Command, HostAlias, Workload
from tidegate.lab.state import Folders

DOMAIN = "cluster.local"
_LOCALHOST = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def mark(folders: Folders, lab: str) -> str:
    """What the lab's processes carry in their environment: equal names in other state folders are other labs."""
    return f"{lab}@{folders.state}"


def resolv_conf(plan: Plan, member: Member) -> str:
    """Workloads ask the lab's name server, with Kubernetes' search list; machines outside ask the outer one."""
    if member.prefix_length == 32:
        return f"nameserver {plan.dns.address}\n" if plan.dns else ""
    namespace = member.key.partition(".")[2]
    search = f"{namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
    return f"nameserver {plan.gateway}\nsearch {search}\noptions ndots:5\n"


def hosts_file(member: Member, aliases: tuple[HostAlias, ...]) -> str:
    own = f"{member.address} {member.key.partition('.')[0]}\n"
    return _LOCALHOST + own + "".join(f"{alias.ip} {' '.join(alias.hostnames)}\n" for alias in aliases)


def write_etc(plan: Plan, member: Member, folder: Path, aliases: tuple[HostAlias, ...]) -> None:
    """Write the files that :func:`etc_binds` puts over those in /etc."""
    (folder / "resolv.conf").write_text(resolv_conf(plan, member))
    (folder / "hosts").write_text(hosts_file(member, aliases))


def etc_binds(folder: Path) -> tuple[tuple[str, str], ...]:
    """(file, the one in /etc that it hides)."""
    return tuple((str(folder / name), f"/etc/{name}") for name in ("resolv.conf", "hosts"))


def make_home(home: Path, program: Workload | Command, base: Path) -> None:
    """The program's working folder with copies of its files, all its user's own."""
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(home, program.uid, program.uid)
    for target, source in program.files.items():
        try:
            copy = home / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base / source, copy)
            shutil.copymode(base / source, copy)
            os.chown(copy, program.uid, program.uid)
        except OSError as error:
            raise TidegateError(f"files: cannot copy {base / source}: {error.strerror}") from error
