"""Who may see the console: a browser on this machine that was given the link.

The link holds a token that counts once; the first visit changes it for a cookie. The Host header is checked, so that
a page of another site cannot reach the console under a name of its own (DNS rebinding).
"""

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ENTER = "Open the link that `tidegate dashboard` printed; it opens once. Start the command again for a new one.\n"


class Keys:
    """The token of the link, good for one visit, and the cookie that it is changed for."""

    def __init__(self, port: int) -> None:
        self.token: str | None = secrets.token_urlsafe(32)
        self.port = port
        self._session = secrets.token_urlsafe(32)

    @property
    def cookie(self) -> str:
        """Cookies of a host are shared by its ports: each console's has a name of its own."""
        return f"tidegate-console-{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset({f"127.0.0.1:{self.port}", f"localhost:{self.port}"})

    def redeem(self, token: str) -> str | None:
        """The session's secret for the right token, once."""
        if self.token is None or not _same(token, self.token):
            return None
        self.token = None
        return self._session

    def knows(self, cookies: str) -> bool:
        """Whether a Cookie header holds the session's secret."""
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return found is not None and _same(found.value, self._session)


def _same(given: str, right: str) -> bool:
    """Compared in a time that tells nothing of how much is right."""
    return secrets.compare_digest(given.encode(errors="replace"), right.encode())


class Guard:
    """ASGI: lets through only GET, only under the right host, only with the cookie."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, safe)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.getlist("host") != [headers.get("host")] or headers["host"] not in self._keys.hosts:
            return PlainTextResponse(f"Open the console as http://127.0.0.1:{self._keys.port}/\n", 421)
        if scope["method"] != "GET":
            return PlainTextResponse("The console only reads: GET.\n", 405, {"Allow": "GET"})
        if self._keys.knows("; ".join(headers.getlist("cookie"))):
            return None
        return self._enter(scope)

    def _enter(self, scope: Scope) -> Response:
        given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20) if scope["path"] == "/" else {}
        session = self._keys.redeem(given.get("token", [""])[0])
        if session is None:
            return PlainTextResponse(_ENTER, 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._keys.cookie, session, httponly=True, samesite="strict")
        return answer
