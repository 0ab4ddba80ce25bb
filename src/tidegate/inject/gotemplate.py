"""The part of Go's template language that injection templates use.

Text with actions between ``{{`` and ``}}``: fields, variables, pipelines, ``if``, ``range``, ``with``, ``define``,
``template``, comments and trim markers. https://pkg.go.dev/text/template says what they mean.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tidegate.inject.gofunctions import FUNCTIONS, Fields, is_set
from tidegate.inject.settings import Json
from tidegate.kit.errors import TidegateError

MAX_OUTPUT = 1 << 20
"""Characters that a template may make."""
_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<op>:=|[=|(),])'
    r"|(?P<name>\$?[A-Za-z_]\w*|\$)|(?P<field>(?:\.[A-Za-z_]\w*)+|\.))"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class TemplateError(TidegateError):
    """A template that cannot be read or rendered."""


class Token(msgspec.Struct, frozen=True):
    """One word of an action."""

    kind: str
    text: str
    glued: bool = False
    """No space before it: ``$x.Name``, ``(index .A 0).B``."""


class Node(msgspec.Struct):
    """Text (``kind`` text) or an action with what is inside it."""

    kind: str
    text: str = ""
    tokens: tuple[Token, ...] = ()
    body: list["Node"] = []
    otherwise: list["Node"] = []


class Template:
    """A template, read once. Raises TemplateError."""

    def __init__(self, text: str, name: str = "template") -> None:
        self.name = name
        self._defined: dict[str, list[Node]] = {}
        nodes = _Reader(text, name, self._defined)
        self._root = nodes.block(("",))[0]

    def render(self, data: Any) -> str:
        """The text for ``data``. Raises TemplateError."""
        return _Run(self.name, self._defined, data).whole(self._root, data)


class _Reader:
    """Text to nodes."""

    def __init__(self, text: str, name: str, defined: dict[str, list[Node]]) -> None:
        self._name, self._defined = name, defined
        self._pieces = _pieces(text)

    def block(self, ends: tuple[str, ...]) -> tuple[list[Node], str, tuple[Token, ...]]:
        """Nodes up to one of the closing words; that word, and what follows it."""
        out: list[Node] = []
        for kind, text in self._pieces:
            if kind == "text":
                out.append(Node("text", text))
                continue
            tokens = tuple(self._tokens(text))
            word = tokens[0].text if tokens and tokens[0].kind == "name" else ""
            if word in ("end", "else"):
                if word not in ends:
                    raise TemplateError(f"{self._name}: {{{{ {word} }}}} closes nothing that is open")
                return out, word, tokens[1:]
            node = self._node(word, tokens)
            if node is not None:
                out.append(node)
        if "" not in ends:
            raise TemplateError(f"{self._name}: an action such as if, range or with has no {{{{ end }}}}")
        return out, "", ()

    def _node(self, word: str, tokens: tuple[Token, ...]) -> Node | None:
        if not tokens:
            return None
        if word in ("if", "with", "range"):
            return self._conditional(word, tokens[1:])
        if word in ("define", "block"):
            body, _, _ = self.block(("end",))
            self._defined[_string(tokens[1].text) if len(tokens) > 1 else ""] = body
            return Node("template", tokens=tokens[1:]) if word == "block" else None
        return Node("template", tokens=tokens[1:]) if word == "template" else Node("print", tokens=tokens)

    def _conditional(self, word: str, tokens: tuple[Token, ...]) -> Node:
        body, closed, rest = self.block(("end", "else"))
        if closed == "end":
            return Node(word, tokens=tokens, body=body)
        if rest and rest[0].text in ("if", "with"):
            return Node(word, tokens=tokens, body=body, otherwise=[self._conditional(rest[0].text, rest[1:])])
        otherwise, _, _ = self.block(("end",))
        return Node(word, tokens=tokens, body=body, otherwise=otherwise)

    def _tokens(self, text: str) -> Iterator[Token]:
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise TemplateError(f"{self._name}: {{{{{text}}}}}: {text[at:].strip()[:20]!r} is not understood")
            yield Token(match.lastgroup, match[match.lastgroup], at > 0 and match.start(match.lastgroup) == at)
            at = match.end()


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Text and actions in turn; trim markers take blanks away, comments vanish."""
    at, trim = 0, False
    for match in _ACTION.finditer(text):
        before = text[at : match.start()]
        before = before.lstrip() if trim else before
        before = before.rstrip() if match[1] else before
        if before:
            yield "text", before
        if not match[2].strip().startswith("/*"):
            yield "action", match[2]
        at, trim = match.end(), bool(match[3])
    rest = text[at:].lstrip() if trim else text[at:]
    if "{{" in rest:
        raise TemplateError(f"{rest[rest.index('{{') :][:40]!r}: this action has no closing braces")
    if rest:
        yield "text", rest


def _string(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


class _Run:
    """One rendering: the variables, and how much was made."""

    def __init__(self, name: str, defined: dict[str, list[Node]], root: Any) -> None:
        self._name, self._defined = name, defined
        self._scopes: list[Json] = [{"$": root}]
        self._made, self._depth = 0, 0

    def whole(self, nodes: list[Node], dot: Any) -> str:
        return "".join(self._all(nodes, dot))

    def _all(self, nodes: list[Node], dot: Any) -> Iterator[str]:
        for node in nodes:
            for text in self._one(node, dot):
                self._made += len(text)
                if self._made > MAX_OUTPUT:
                    raise TemplateError(f"{self._name}: it makes more than {MAX_OUTPUT} characters")
                yield text

    def _one(self, node: Node, dot: Any) -> Iterator[str]:
        match node.kind:
            case "text":
                yield node.text
            case "print":
                name, operator, value = self._assigned(node.tokens, dot)
                if operator:
                    self._assign(name, operator, value)
                else:
                    yield _shown(value)
            case "template":
                yield from self._template(node, dot)
            case "range":
                yield from self._range(node, dot)
            case _:
                yield from self._choice(node, dot)

    def _choice(self, node: Node, dot: Any) -> Iterator[str]:
        name, operator, value = self._assigned(node.tokens, dot)
        self._scopes.append({name: value} if operator else {})
        inner = value if node.kind == "with" and is_set(value) else dot
        yield from self._all(node.body if is_set(value) else node.otherwise, inner)
        self._scopes.pop()

    def _range(self, node: Node, dot: Any) -> Iterator[str]:
        names, tokens = _loop_names(node.tokens)
        value = _Expression(self, tokens, dot).pipeline()
        pairs = list(sorted(value.items()) if isinstance(value, dict) else enumerate(value or ()))
        for key, item in pairs:
            found = {names[0]: key, names[1]: item} if len(names) == 2 else dict.fromkeys(names, item)
            self._scopes.append(found)
            yield from self._all(node.body, item)
            self._scopes.pop()
        if not pairs:
            yield from self._all(node.otherwise, dot)

    def _template(self, node: Node, dot: Any) -> Iterator[str]:
        name = _string(node.tokens[0].text) if node.tokens else ""
        if name not in self._defined:
            raise TemplateError(f"{self._name}: no template {name!r} is defined")
        if self._depth > 20:
            raise TemplateError(f"{self._name}: template {name!r} calls itself without end")
        value = _Expression(self, node.tokens[1:], dot).pipeline() if len(node.tokens) > 1 else None
        scopes, self._scopes = self._scopes, [{"$": value}]
        self._depth += 1
        yield from self._all(self._defined[name], value)
        self._depth -= 1
        self._scopes = scopes

    def _assigned(self, tokens: tuple[Token, ...], dot: Any) -> tuple[str, str, Any]:
        if len(tokens) > 1 and tokens[1].text in (":=", "=") and tokens[0].text.startswith("$"):
            return tokens[0].text, tokens[1].text, _Expression(self, tokens[2:], dot).pipeline()
        return "", "", _Expression(self, tokens, dot).pipeline()

    def _assign(self, name: str, operator: str, value: Any) -> None:
        if operator == ":=":
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise self.error(f"variable {name} is not defined")

    def variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise self.error(f"variable {name} is not defined")

    def error(self, said: str) -> TemplateError:
        return TemplateError(f"{self._name}: {said}")


def _loop_names(tokens: tuple[Token, ...]) -> tuple[list[str], tuple[Token, ...]]:
    for number, token in enumerate(tokens):
        if token.text == ":=":
            return [each.text for each in tokens[:number] if each.text != ","], tokens[number + 1 :]
    return [], tokens


class _Expression:
    """A pipeline, evaluated as it is read."""

    def __init__(self, run: _Run, tokens: tuple[Token, ...], dot: Any) -> None:
        self._run, self._tokens, self._dot, self._at = run, tokens, dot, 0

    def pipeline(self) -> Any:
        """The value of commands between bars, each given the one before as its last argument."""
        value = self._command(())
        while self._next("|"):
            value = self._command((value,))
        if self._at < len(self._tokens) and self._tokens[self._at].text != ")":
            raise self._run.error(f"{self._tokens[self._at].text!r} is not expected here")
        return value

    def _command(self, last: tuple[Any, ...]) -> Any:
        token = self._peek()
        if token is not None and token.kind == "name" and token.text in FUNCTIONS:
            self._at += 1
            return self._call(FUNCTIONS[token.text], token.text, [*self._operands(), *last])
        values = [*self._operands(), *last]
        if len(values) != 1:
            raise self._run.error("expected a function before several values, or one value")
        return values[0]

    def _call(self, function: Callable[..., Any], name: str, arguments: list[Any]) -> Any:
        try:
            return function(*arguments)
        except TemplateError:
            raise
        except Exception as error:  # whatever a function makes of values that it was not made for
            raise self._run.error(f"{name}: {error}") from error

    def _operands(self) -> list[Any]:
        out = []
        while (token := self._peek()) is not None and token.text not in ("|", ")", ","):
            out.append(self._operand(token))
        return out

    def _operand(self, token: Token) -> Any:
        self._at += 1
        if token.kind == "string":
            return _string(token.text)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.text == "(":
            value = self.pipeline()
            if not self._next(")"):
                raise self._run.error("a parenthesis is not closed")
            return self._fields(value)
        if token.kind == "field":
            return self._walk(self._dot, token.text)
        if token.text.startswith("$"):
            return self._fields(self._run.variable(token.text))
        return self._word(token)

    def _word(self, token: Token) -> Any:
        words = {"true": True, "false": False, "nil": None}
        if token.text in words:
            return words[token.text]
        if token.text in FUNCTIONS:
            return self._call(FUNCTIONS[token.text], token.text, [])
        raise self._run.error(f"function {token.text!r} is not defined")

    def _fields(self, value: Any) -> Any:
        token = self._peek()
        if token is not None and token.kind == "field" and token.glued:
            self._at += 1
            return self._walk(value, token.text)
        return value

    def _walk(self, value: Any, path: str) -> Any:
        first = path.removeprefix(".").partition(".")[0]
        if isinstance(value, Fields) and first and first not in value:
            raise self._run.error(f".{first}: there is no such field; there are {', '.join(sorted(value))}")
        return _walk(value, path)

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.text != text:
            return False
        self._at += 1
        return True


def _walk(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not name:
            continue
        if isinstance(value, dict):
            value = value[name] if name in value else value.get(_json_name(name.removeprefix("Get")))
        elif name not in _OF_VALUES:
            return None
    return value


_OF_VALUES = ("GetValue", "String")
"""Methods of Go's wrappers and enums, which are plain values here."""


def _json_name(name: str) -> str:
    """The name in JSON of a Go field: ``ServiceAccountName`` is ``serviceAccountName``, ``DNSPolicy`` ``dnsPolicy``."""
    return re.sub(r"^(?:[A-Z]+(?![a-z])|[A-Z])", lambda match: match[0].lower(), name)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{k}:{_shown(v)}' for k, v in sorted(value.items()))}]"
    return str(value)
