"""Who may see an object: exportTo and the mesh's defaults for it."""

from collections.abc import Collection


def visible(export_to: Collection[str] | None, default: Collection[str], owner: str, viewer: str) -> bool:
    """Whether an object of namespace ``owner`` is visible from namespace ``viewer``.

    ``export_to`` None or empty: the mesh default applies. "*" shows it to all, "." to its own namespace, "~" to
    nobody, any other word to the namespace of that name. "*" among others makes it public.
    """
    scopes = export_to or default or ("*",)
    if "*" in scopes:
        return True
    if "~" in scopes:
        return False
    return viewer in scopes or ("." in scopes and owner == viewer)
