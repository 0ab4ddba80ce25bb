"""Why a pod is refused."""

from tidegate.kit.errors import FieldError, TidegateError


class InjectionError(TidegateError):
    """A pod that cannot be given a sidecar, with everything wrong about it."""

    def __init__(self, pod: str, errors: tuple[FieldError, ...]) -> None:
        self.pod, self.errors = pod, errors
        super().__init__(f"{pod}: " + "; ".join(map(str, errors)))
