"""The syntax of CEL, the expression language of Envoy's filters: whether a text is an expression at all.

Grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

import re

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>(?:[bB]?[rR]|[rR][bB])(?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\n]*"|'[^'\n]*'))
  | (?P<string>[bB]?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''
        |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[_a-zA-Z]\w*)
  | (?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let", "loop", "package")
) | frozenset(("namespace", "return", "var", "void", "while"))
_BINARY = ("||", "&&", "<", "<=", ">", ">=", "==", "!=", "in", "+", "-", "*", "/", "%")
_LONGEST = 10_000
_DEEPEST = 100


class CelError(ValueError):
    """A text that is no CEL expression."""


def problem(text: str) -> str | None:
    """What keeps ``text`` from being a CEL expression; None when it is one."""
    try:
        _Parser(text).whole()
    except CelError as error:
        return str(error)
    return None


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, position) of each token, with one of kind "end" last."""
    if len(text) > _LONGEST:
        raise CelError(f"is longer than {_LONGEST} characters")
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise CelError(f"unexpected {text[at]!r} at character {at + 1}")
        if token.lastgroup != "space":
            found.append((str(token.lastgroup), token[0], at))
        at = token.end()
    return [*found, ("end", "the end", len(text))]


class _Parser:
    """Recursive descent; operators' precedence does not matter to whether a text is an expression."""

    def __init__(self, text: str) -> None:
        self._tokens, self._at, self._depth = _tokens(text), 0, 0

    def whole(self) -> None:
        self._expression()
        if self._tokens[self._at][0] != "end":
            raise self._unexpected()

    def _unexpected(self) -> CelError:
        _, text, at = self._tokens[self._at]
        return CelError(f"unexpected {text[:40]!r} at character {at + 1}")

    def _accept(self, *texts: str) -> bool:
        kind, text, _ = self._tokens[self._at]
        if kind in ("sign", "name") and text in texts:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected()

    def _expression(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CelError(f"is nested more than {_DEEPEST} levels deep")
        self._unary()
        while self._accept(*_BINARY):
            self._unary()
        if self._accept("?"):
            self._expression()
            self._expect(":")
            self._expression()
        self._depth -= 1

    def _unary(self) -> None:
        while self._accept("!", "-"):
            pass
        self._primary()
        while self._accept(".", "[", "{", "("):
            self._selector(self._tokens[self._at - 1][1])

    def _selector(self, opening: str) -> None:
        if opening == ".":
            self._name()
        elif opening == "[":
            self._expression()
            self._expect("]")
        else:
            self._list(")" if opening == "(" else "}", pairs=opening == "{")

    def _primary(self) -> None:
        if self._accept("("):
            self._expression()
            self._expect(")")
        elif self._accept("["):
            self._list("]")
        elif self._accept("{"):
            self._list("}", pairs=True)
        elif self._tokens[self._at][0] in ("raw", "string", "number"):
            self._at += 1
        else:
            self._accept(".")
            self._name()

    def _name(self) -> None:
        kind, text, _ = self._tokens[self._at]
        if kind != "name" or text in _RESERVED:
            raise self._unexpected()
        self._at += 1

    def _list(self, closing: str, *, pairs: bool = False) -> None:
        while not self._accept(closing):
            self._expression()
            if pairs:
                self._expect(":")
                self._expression()
            if not self._accept(","):
                self._expect(closing)
                return
