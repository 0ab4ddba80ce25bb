"""Objects that a new store needs: the mesh's namespace and configuration."""

from tidegate.api.meshconfig import KEY, NAME, NAMESPACE, default_mesh_yaml
from tidegate.controllers.plan import Action
from tidegate.store.model import Json


def plan(namespace: Json | None, config: Json | None) -> list[Action]:
    """Create what is absent of the mesh's namespace and its ConfigMap; what exists is the user's."""
    actions = []
    if namespace is None:
        made: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        actions.append(Action("create", made, "the mesh configuration lives in it"))
    if config is None:
        body: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {KEY: default_mesh_yaml()},
        }
        actions.append(Action("create", body, "there is no mesh configuration yet"))
    return actions
