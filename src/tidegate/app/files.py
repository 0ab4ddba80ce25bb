"""Open files of a process: each proxy, each watch and each kubectl holds one."""

import resource


def allow_many() -> None:
    """Raise the soft limit to the hard one. The usual soft limit, 1024, is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
