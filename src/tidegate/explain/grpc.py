"""What becomes of an answer that the proxy gives itself where the client speaks gRPC: status 200, and the reason in a
trailer (https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html)."""

import msgspec

from tidegate.explain.clusters import Result
from tidegate.explain.connection import HttpRequest
from tidegate.explain.trace import End

_UNKNOWN, _UNAVAILABLE = 2, 14
_STATUS = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    429: _UNAVAILABLE,
    502: _UNAVAILABLE,
    503: _UNAVAILABLE,
    504: _UNAVAILABLE,
}


def answered(found: Result, request: HttpRequest) -> Result:
    """The end with the status that a gRPC client gets, where this is one and the proxy answers."""
    if not isinstance(found, End) or found.http_status is None or not request.is_grpc:
        return found
    return msgspec.structs.replace(found, grpc_status=_STATUS.get(found.http_status, _UNKNOWN))
