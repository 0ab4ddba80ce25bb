"""Who may see an object: exportTo and the mesh's defaults for it."""

from collections.abc import Iterable


def visible(export_to: Iterable[str] | None, default: Iterable[str], owner: str, viewer: str) -> bool:
    """Whether an object of namespace ``owner`` is visible from namespace ``viewer``.

    ``export_to`` None or empty: the mesh default applies. "*" shows it to all, "." to its own namespace, "~" to
    nobody, any other word to the namespace of that name. "*" among others makes it public.
    """
    scopes = set(export_to or ()) or set(default) or {"*"}
    if "*" in scopes:
        return True
    if "~" in scopes:
        return False
    return viewer in scopes or ("." in scopes and owner == viewer)
