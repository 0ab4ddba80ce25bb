"""exportTo: "." the own namespace, "*" all, "~" nobody, else the namespaces named; without it the mesh's default."""

import pytest

from tidegate.scope.visibility import visible


@pytest.mark.parametrize(
    ("export", "default", "own", "named", "other"),
    [
        ((), ("*",), True, True, True),
        (None, (), True, True, True),
        (None, (".",), True, False, False),
        ((), ("named",), False, True, False),
        ((".",), ("*",), True, False, False),
        (("*",), (".",), True, True, True),
        (("named",), ("*",), False, True, False),
        (("named", "."), ("*",), True, True, False),
        (("*", "."), (), True, True, True),
        (("~",), ("*",), False, False, False),
        (None, ("~",), False, False, False),
    ],
)
def test_who_sees_it(
    export: tuple[str, ...] | None, default: tuple[str, ...], own: bool, named: bool, other: bool
) -> None:
    seen = tuple(visible(export, default, "own", viewer) for viewer in ("own", "named", "other"))
    assert seen == (own, named, other)
