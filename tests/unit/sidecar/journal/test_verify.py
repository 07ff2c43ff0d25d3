"""Whatever is done to a journal is found, and the first bad line is named."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.journal.export import export
from sidecar.journal.keys import SigningKey
from sidecar.journal.segment import create
from sidecar.journal.statements import Statements
from sidecar.journal.verify import Verdict, verify

CONTENT = '{"id":7,"title":"Limps","note":"é"}'


def journal(directory: Path, events: int = 4, prefix: str = "node-1") -> Path:
    """A segment written as the journal writes it."""
    segment = create(directory, prefix)
    for number in range(events):
        start = f"2026-03-10T12:00:0{number % 10}.000000000Z"
        event: dict[str, Any] = {
            "@timestamp": start,
            "event": {"id": f"e{number}", "outcome": "success", "duration": number},
            "understudy": {"endpoint": "GET /notes/{id}"},
        }
        if number % 2:
            event["understudy"]["body"] = {"response": sha256(CONTENT.encode()).hexdigest()}
        bodies = {
            "@timestamp": start,
            "event": {"id": f"e{number}"},
            "understudy": {"endpoint": "GET /notes/{id}"},
            "http": {"response": {"body": {"content": CONTENT}}},
        }
        segment.write(segment.line(event, bodies if number % 2 else None))
    segment.close()
    return directory / f"{segment.name}.jsonl"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def last(path: Path) -> tuple[int, str]:
    line = orjson.loads(lines(path)[-1])
    return line["sequence"], line["hash"]


def found(verdict: Verdict, path: Path, line: int, why: str) -> None:
    assert not verdict.ok
    assert verdict.first_bad is not None
    assert (verdict.first_bad["file"], verdict.first_bad["line"]) == (str(path), line)
    assert why in str(verdict.first_bad["why"])


def test_an_untouched_journal_is_whole(tmp_path: Path) -> None:
    paths = [journal(tmp_path), journal(tmp_path, 3)]
    verdict = verify(paths, {path.stem: last(path) for path in paths})
    said = {"ok": True, "events": 7, "first_bad": None, "signed": None, "unsigned": 7, "key": None, "notes": []}
    assert verdict.as_json() == said


def test_nothing_is_whole(tmp_path: Path) -> None:
    assert verify([]).as_json() == {
        "ok": True,
        "events": 0,
        "first_bad": None,
        "signed": None,
        "unsigned": 0,
        "key": None,
        "notes": [],
    }


def rewrite(change: Callable[[dict[str, Any]], Any]) -> Callable[[list[bytes]], list[bytes]]:
    """Changes the third line, and writes it as the journal would."""

    def apply(given: list[bytes]) -> list[bytes]:
        line = orjson.loads(given[2])
        change(line)
        return [*given[:2], orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), *given[3:]]

    return apply


@pytest.mark.parametrize(
    ("damage", "line", "why"),
    [
        (rewrite(lambda line: line["event"]["event"].update(outcome="failure")), 3, "does not have its hash"),
        (rewrite(lambda line: line["event"].update(more=1)), 3, "does not have its hash"),
        (rewrite(lambda line: line.update(hash="0" * 64)), 3, "not the line's"),
        (rewrite(lambda line: line.update(previous="0" * 64)), 3, "does not continue"),
        (rewrite(lambda line: line.update(bodies={"http": {}})), 3, "bodies are not this event's"),
        (lambda given: [given[0], given[1].replace(b"}}}}}", b'}}}},"x":1}'), *given[2:]], 2, "not a line"),
        (rewrite(lambda line: line.update(more=1)), 3, "not a line"),
        (rewrite(lambda line: line.update(segment="other")), 3, "sequence 3 where 1 belongs"),
        (rewrite(lambda line: line.update(event=[])), 3, "not a line"),
        (lambda given: [given[0], given[2], given[1], given[3]], 2, "sequence 3 where 2 belongs"),
        (lambda given: [given[0], *given[2:]], 2, "sequence 3 where 2 belongs"),
        (lambda given: given[1:], 1, "sequence 2 where 1 belongs"),
        (lambda given: [*given[:2], given[1], *given[2:]], 3, "sequence 2 where 3 belongs"),
        (lambda given: [*given[:2], b"\n", *given[2:]], 3, "not JSON"),
        (lambda given: [*given[:2], b"[1]\n", *given[2:]], 3, "not a line"),
        (lambda given: [given[0].replace(b'"e0"', b' "e0"'), *given[1:]], 1, "not written as"),
        (lambda given: [given[0], given[1].replace(b"Limps", b"Jumps"), *given[2:]], 2, "response body"),
    ],
)
def test_damage_is_found(tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], line: int, why: str) -> None:
    path = journal(tmp_path)
    path.write_bytes(b"".join(damage(lines(path))))
    verdict = verify([path])
    found(verdict, path, line, why)
    assert verdict.events == line - 1


def test_a_body_that_is_gone_is_found_unless_a_statement_says_that_it_was_erased(tmp_path: Path) -> None:
    path = journal(tmp_path)
    erased = [orjson.loads(line) | {"bodies": None} for line in lines(path)]
    path.write_bytes(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in erased))
    found(verify([path]), path, 2, "its bodies are gone")
    statements = Statements(tmp_path / "statements.jsonl", "node")
    statements.append(SigningKey(tmp_path / "key"), {"erased": {path.stem: [[2, 2]]}})
    found(verify([path], statements=statements.path), path, 4, "its bodies are gone")
    statements.append(SigningKey(tmp_path / "key"), {"erased": {path.stem: [[4, 4]]}})
    assert verify([path], {path.stem: last(path)}, statements=statements.path).ok


def test_a_torn_last_line_is_a_note(tmp_path: Path) -> None:
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    verdict = verify([path])
    assert (verdict.ok, verdict.events, len(verdict.notes)) == (True, 3, 1)
    assert "line 4 is torn" in verdict.notes[0]


def test_a_cut_tail_is_found_by_its_checkpoint(tmp_path: Path) -> None:
    path, other = journal(tmp_path), journal(tmp_path)
    checkpoints = {path.stem: last(path), other.stem: last(other)}
    path.write_bytes(b"".join(lines(path)[:-1]))
    assert verify([path, other]).ok, "by itself the chain is perfect"
    found(verify([path, other], checkpoints), path, 4, "ends at 3, a checkpoint says it had 4")
    other.unlink()
    path.unlink()
    assert not verify([], checkpoints).ok


def test_a_rewritten_chain_is_found_by_its_checkpoint(tmp_path: Path) -> None:
    path = journal(tmp_path)
    sequence, _ = last(path)
    found(verify([path], {path.stem: (sequence, "0" * 64)}), path, 4, "rewritten")
    assert verify([path], {f"{path.stem}.jsonl": last(path)}).ok, "a file's name does as well as the segment's"


def test_an_export_of_many_segments_is_verified_as_one_file(tmp_path: Path) -> None:
    paths = [journal(tmp_path), journal(tmp_path, 3), journal(tmp_path, 2, "node-2")]
    torn = paths[1]
    torn.write_bytes(torn.read_bytes() + b'{"segment":"')
    one = tmp_path / "export.jsonl"
    one.write_bytes(b"".join(export(paths)))
    verdict = verify([one], {path.stem: last(paths[0]) for path in paths[:1]})
    assert (verdict.ok, verdict.events) == (True, 9)
    given = lines(one)
    one.write_bytes(b"".join([*given[:5], *given[6:]]))
    found(verify([one]), one, 6, "sequence 3 where 2 belongs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = journal(tmp_path_factory.mktemp("journal"))
    return path, path.read_bytes()


@given(st.data())
def test_any_flipped_bit_is_found(whole: tuple[Path, bytes], data: Any) -> None:
    path, raw = whole
    place, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    altered = bytearray(raw)
    altered[place] ^= 1 << bit
    path.write_bytes(altered)
    verdict = verify([path])
    assert not verdict.ok
    assert verdict.first_bad is not None
    at = raw[:place].count(b"\n") + 1
    assert verdict.first_bad["line"] == at


@given(st.data())
def test_any_removed_line_but_the_last_is_found(whole: tuple[Path, bytes], data: Any) -> None:
    path, raw = whole
    given = raw.splitlines(keepends=True)
    gone = data.draw(st.integers(0, len(given) - 2))
    path.write_bytes(b"".join(given[:gone] + given[gone + 1 :]))
    found(verify([path]), path, gone + 1, "removed or reordered")
