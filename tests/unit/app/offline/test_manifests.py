"""Documents of files, folders and standard input, with their places."""

import io
from pathlib import Path

import pytest

from tidegate.app.offline import manifests
from tidegate.kit.errors import TidegateError

MANY = """\
# a comment
%YAML 1.1
---
kind: A
spec:
  hosts:
  - one
  - two
  labels: {a.b/c: x}
---
# nothing
---
kind: AList
items:
- kind: B
  metadata: {name: b}
- kind: List
  items:
  - kind: C
    metadata:
      name: c
"""


def places(text: str, *paths: str) -> list[int]:
    document = manifests.parse(text, "f").documents[0]
    return [document.place(path).line for path in paths]


class TestDocuments:
    def test_many_in_one_text_and_lists_in_lists(self) -> None:
        found = manifests.parse(MANY, "f").documents
        assert [d.raw["kind"] for d in found] == ["A", "B", "C"]
        assert [str(d.place()) for d in found] == ["f:4", "f:15", "f:19"]

    def test_fields_by_their_path(self) -> None:
        assert places(MANY, "spec.hosts[1]", "spec.labels[a.b/c]", "kind") == [8, 9, 4]

    def test_what_is_not_written_is_where_it_would_be(self) -> None:
        assert places(MANY, "spec.hosts[7]", "spec.ports[0].name", "status") == [6, 5, 4]

    def test_members_of_a_list(self) -> None:
        last = manifests.parse(MANY, "f").documents[-1]
        assert last.place("metadata.name").line == 21

    def test_a_dotted_key(self) -> None:
        assert places("metadata:\n  annotations:\n    x.y/z: 1\n", "metadata.annotations.x.y/z") == [3]

    def test_yaml_within_a_block_of_text(self) -> None:
        text = "data:\n  mesh: |\n    # first\n    a: 1\n    b:\n      c: 2\n"
        assert places(text, "data.mesh.b.c", "data.mesh.a", "data.mesh") == [6, 4, 2]

    def test_json(self) -> None:
        assert manifests.parse('{"kind": "A",\n "spec": {}}', "f").documents[0].place("spec").line == 2


class TestBroken:
    def test_one_broken_document_does_not_hide_the_others(self) -> None:
        found = manifests.parse("kind: A\n---\na: [\n---\nkind: B\n", "f")
        assert [d.raw["kind"] for d in found.documents] == ["A", "B"]
        assert [b.place.line for b in found.broken] == [4]

    def test_a_key_given_twice(self) -> None:
        found = manifests.parse("---\nkind: A\nkind: B\n", "f")
        assert (found.broken[0].place.line, "twice" in found.broken[0].message) == (3, True)

    def test_what_json_has_not(self) -> None:
        assert manifests.parse("a: !!python/object:os.system x\n", "f").broken

    def test_a_long_list_is_read_whole(self) -> None:
        members = "".join(f"- {{kind: A, n: [{'1,' * 500}]}}\n" for _ in range(250))
        assert len(manifests.parse(f"kind: List\nitems:\n{members}", "f").documents) == 250

    @pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "kind: A\nspec: " + "{a: " * 100_000])
    def test_text_that_is_nested_too_deep(self, text: str) -> None:
        assert "levels deep" in manifests.parse(text, "f").broken[0].message

    def test_aliases_that_never_end(self) -> None:
        bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
        )
        assert "at most" in manifests.parse(bomb, "f").broken[0].message


class TestSources:
    def test_a_folder_is_read_deep_and_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "x.yml").write_text("kind: B")
        (tmp_path / "a.yaml").write_text("kind: A")
        (tmp_path / "notes.txt").write_text("kind: N")
        assert [d.raw["kind"] for d in manifests.load([str(tmp_path)]).documents] == ["A", "B"]

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"kind: A")))
        assert manifests.load(["-"]).documents[0].file == "<stdin>"

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(TidegateError, match=r"nowhere\.yaml: cannot be read: No such file"):
            manifests.load(["nowhere.yaml"])

    def test_a_folder_without_manifests(self, tmp_path: Path) -> None:
        with pytest.raises(TidegateError, match=r"no file ends in \.yaml"):
            manifests.load([str(tmp_path)])

    def test_a_file_that_is_no_text_does_not_hide_the_others(self, tmp_path: Path) -> None:
        (tmp_path / "x.yaml").write_bytes(b"kind: A\na: \xff\xfe")
        (tmp_path / "y.yaml").write_text("kind: B")
        found = manifests.load([str(tmp_path)])
        assert [d.raw["kind"] for d in found.documents] == ["B"]
        assert [(b.place.line, "byte 11" in b.message) for b in found.broken] == [(2, True)]
