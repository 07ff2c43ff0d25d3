"""The journal is signed: what a chain cannot tell by itself (a cut, a chain made anew, a segment gone) is found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.journal.export import export
from sidecar.journal.keys import SigningError, SigningKey, raw_public
from sidecar.journal.segment import chained, first_previous
from sidecar.journal.signer import Signer
from sidecar.journal.statements import BadStatement, Statements, rotate, vouch_for
from sidecar.journal.verify import Verdict, verify
from tests.support.stack import until
from tests.unit.sidecar.journal.test_verify import found, journal, lines


class Signed:
    """A journal of three segments with its statements, as a node has them."""

    def __init__(self, directory: Path, segments: int = 3) -> None:
        self.journal = directory / "journal"
        self.key = SigningKey(directory / "sign-key")
        self.statements = Statements(directory / "statements.jsonl", "node")
        self.checkpoints: dict[str, tuple[int, str]] = {}
        self.signer = Signer(self.journal, self.statements, self.key, self._keep)
        self.paths = [journal(self.journal, 4) for _ in range(segments)]
        self.sign()

    def _keep(self, name: str, sequence: int, hash: str) -> None:
        self.checkpoints[name] = sequence, hash

    def sign(self) -> None:
        self.signer.look()
        self.signer.sign()

    @property
    def public(self) -> str:
        return raw_public(self.key.private())

    def verify(self) -> Verdict:
        paths = sorted(self.journal.glob("*.jsonl"))
        return verify(paths, self.checkpoints, statements=self.statements.path, trusted=self.public)

    def exported(self, to: Path) -> Path:
        to.write_bytes(b"".join(export(self.paths, self.statements, self.key)))
        return to


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def forged(path: Path) -> bytes:
    """The segment with its first event altered, and every hash made anew: a perfect chain."""
    previous, made = first_previous(path.stem), []
    for raw in lines(path):
        line = orjson.loads(raw)
        line["event"]["event"]["outcome"] = "failure"
        about = {name: value for name, value in line["event"]["event"].items() if name != "hash"}
        line["previous"], line["hash"] = previous, chained(previous, {**line["event"], "event": about})
        line["event"]["event"]["hash"] = previous = line["hash"]
        made.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(made)


def test_an_untouched_journal_is_signed_and_whole(signed: Signed) -> None:
    verdict = signed.verify()
    assert (verdict.ok, verdict.events, verdict.unsigned, verdict.key) == (True, 12, 0, signed.public)
    assert signed.signer.sign() is None, "nothing is new"
    assert signed.key.path.stat().st_mode & 0o777 == 0o600
    more = journal(signed.journal, 2)
    assert (signed.verify().unsigned, more.exists()) == (2, True)
    signed.sign()
    assert signed.verify().unsigned == 0


def test_a_chain_made_anew_is_found(signed: Signed) -> None:
    path = signed.paths[1]
    path.write_bytes(forged(path))
    assert verify([path]).ok, "by itself the chain is perfect"
    found(signed.verify(), path, 4, "not what was signed")


def test_a_cut_tail_and_a_segment_that_is_gone_are_found(signed: Signed) -> None:
    path = signed.paths[1]
    whole = path.read_bytes()
    path.write_bytes(b"".join(lines(path)[:-1]))
    found(signed.verify(), path, 4, "ends at 3, it was signed up to 4")
    path.unlink()
    verdict = signed.verify()
    assert (verdict.first_bad or {})["file"] == path.name
    path.write_bytes(whole)
    assert signed.verify().ok


def test_segments_that_changed_places_are_found(signed: Signed) -> None:
    first, second = signed.paths[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    found(signed.verify(), first, 1, "swapped")


def test_statements_that_are_altered_removed_or_cut_are_found(signed: Signed) -> None:
    journal(signed.journal, 2)
    signed.sign()
    path, (first, second) = signed.statements.path, lines(signed.statements.path)
    path.write_bytes(first)
    assert verify(signed.paths, statements=path, trusted=signed.public).ok, "by themselves they are perfect"
    found(signed.verify(), path, 2, "statements end at 1, a checkpoint says 2")
    path.write_bytes(second)
    found(signed.verify(), path, 1, "removed")
    path.write_bytes(second + first)
    found(signed.verify(), path, 2, "removed or reordered")
    path.unlink()
    found(signed.verify(), path, 1, "statements end at 0")


def test_what_no_hash_covers_has_no_place_on_a_statement(signed: Signed) -> None:
    path, raw = signed.statements.path, signed.statements.path.read_bytes()
    path.write_bytes(b'{"note":"all is well",' + raw[1:])
    verdict = signed.verify()
    assert not verdict.ok
    assert verdict.first_bad is not None
    assert "not as it was written" in verdict.first_bad["why"]


def test_statements_by_another_key_are_found(signed: Signed, tmp_path: Path) -> None:
    signed.statements.path.unlink()
    other = Statements(signed.statements.path, "node")
    Signer(signed.journal, other, SigningKey(tmp_path / "theirs"), lambda *_: None).look()
    other.append(SigningKey(tmp_path / "theirs"), {"heads": {}})
    found(verify(signed.paths, statements=other.path, trusted=signed.public), other.path, 1, "another key")


def test_what_retention_removes_is_stated_first_and_old_statements_go(signed: Signed) -> None:
    first, second, third = signed.paths
    assert signed.signer.dropping({first.stem: "retention"})
    assert signed.verify().ok, "stated, and not yet removed"
    first.unlink()
    assert signed.verify().ok
    journal(signed.journal, 2)
    signed.sign()
    assert signed.signer.dropping({second.stem: "retention", third.stem: "retention"})
    second.unlink()
    third.unlink()
    assert [orjson.loads(raw)["sequence"] for raw in lines(signed.statements.path)] == [3, 4]
    assert signed.verify().ok
    again = Signer(signed.journal, Statements(signed.statements.path, "node"), signed.key, lambda *_: None)
    again.look()
    assert again.sign() is None, "after a restart it goes on where it was"
    assert signed.verify().ok


def test_a_line_that_was_altered_before_it_was_signed_is_not_signed(signed: Signed) -> None:
    path = journal(signed.journal, 4)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"Limps", b"Jumps", 1))
    signed.sign()
    assert "line 2: altered: the response body" in str(signed.signer.trouble)
    assert signed.verify().unsigned == 0  # not reached: the bad line comes first
    path.write_bytes(good)
    assert signed.verify().unsigned == 3


def test_a_signature_that_cannot_be_made_is_told_and_tried_again(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.journal.signer.SETTLE", 0.01)
    kept = signed.key.path.read_bytes()
    signed.key.path.write_bytes(b"nonsense")
    with pytest.raises(SigningError, match="UNDERSTUDY_SIGN_KEY: .*expected an Ed25519 key in PEM"):
        signed.key.private()
    assert not signed.signer.dropping({signed.paths[0].stem: "retention"})
    journal(signed.journal, 1)
    stop = threading.Event()
    thread = threading.Thread(target=signed.signer.run, args=(stop, 0.01))
    thread.start()
    try:
        until(lambda: "could not be signed" in str(signed.signer.trouble))
        signed.key.path.write_bytes(kept)
        until(lambda: signed.signer.trouble is None)
    finally:
        stop.set()
        thread.join()
    assert signed.verify().unsigned == 0


def test_a_new_key_is_vouched_for_by_the_old_one(signed: Signed) -> None:
    old = signed.public
    kept = rotate(signed.key, signed.statements)
    assert signed.public != old
    assert kept.stat().st_mode & 0o777 == 0o600
    journal(signed.journal, 1)
    signed.sign()
    assert signed.verify().ok
    assert verify(signed.journal.glob("*.jsonl"), statements=signed.statements.path, trusted=old).ok


def test_a_key_that_was_put_in_place_signs_at_once_and_once(signed: Signed) -> None:
    old, successor = signed.public, signed.key.path.with_name("successor")
    vouch_for(SigningKey(successor), signed.key, signed.statements)
    assert signed.signer.sign() is None
    assert signed.verify().ok
    successor.replace(signed.key.path)
    assert signed.public != old
    assert not signed.verify().ok, "it has signed nothing yet"
    assert signed.signer.sign() is not None
    assert signed.signer.sign() is None
    assert signed.verify().ok
    assert signed.verify().notes == []
    assert verify(signed.journal.glob("*.jsonl"), statements=signed.statements.path, trusted=old).ok


def test_a_signer_that_changes_unvouched_is_named_with_its_place(signed: Signed) -> None:
    rotate(signed.key, signed.statements)
    assert signed.verify().notes == []
    old, before = signed.public, len(signed.statements.lines())
    signed.key.path.unlink()
    signed.key = SigningKey(signed.key.path)
    signed.signer = Signer(signed.journal, signed.statements, signed.key, signed._keep)
    journal(signed.journal, 1)
    signed.sign()
    verdict = signed.verify()
    assert verdict.ok
    (note,) = verdict.notes
    assert f"statement {before + 1}: the signer changes unvouched" in note
    assert f"from {old[:16]} to {signed.public[:16]}" in note
    assert verdict.as_json()["notes"] == [note]
    found(verify(signed.paths, statements=signed.statements.path, trusted=old), signed.statements.path, before + 1, "")


def test_a_torn_statement_is_written_over(signed: Signed) -> None:
    with signed.statements.path.open("ab") as file:
        file.write(b'{"segment":"node@statements","sequ')
    journal(signed.journal, 1)
    signed.sign()
    assert (signed.verify().ok, signed.verify().unsigned, len(lines(signed.statements.path))) == (True, 0, 2)


def test_an_export_is_verified_alone(signed: Signed, tmp_path: Path) -> None:
    journal_more = journal(signed.journal, 5)  # not signed yet: the export's own statement covers it
    signed.paths.append(journal_more)
    one = signed.exported(tmp_path / "export.jsonl")
    verdict = verify([one], trusted=signed.public)
    assert (verdict.ok, verdict.events, verdict.unsigned) == (True, 17, 0)
    assert not verify([one], trusted="0" * 64).ok
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes(b"".join(export(signed.paths)))
    assert (verify([bare]).ok, verify([bare]).signed) == (True, None)
    found(verify([bare], trusted=signed.public), bare, 17, "not signed")


Damage = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("damage", "line", "why"),
    [
        (lambda given: given[:8] + given[12:], 9, "segment"),  # a segment is gone
        (lambda given: given[4:8] + given[:4] + given[8:], 5, "does not belong here"),  # two changed places
        (lambda given: given[:11] + given[12:], 12, "cut: segment"),  # the last line of the last segment
        (lambda given: given[:-1], 0, "ends"),  # the export's own statement
        (lambda given: given[:12] + given[13:], 13, "removed"),  # a statement
        (lambda given: given[:12] + [given[13], given[12]], 14, "removed or reordered"),
        (lambda given: given[:4] + given[:4] + given[4:], 5, "sequence 1 where 5"),  # a segment twice
        (lambda given: given[:8] + given[:4] + given[8:], 9, "does not belong here"),  # … elsewhere
    ],
)
def test_damage_to_an_export_is_found(signed: Signed, tmp_path: Path, damage: Damage, line: int, why: str) -> None:
    one = signed.exported(tmp_path / "export.jsonl")
    assert len(lines(one)) == 14
    one.write_bytes(b"".join(damage(lines(one))))
    verdict = verify([one], trusted=signed.public)
    if line == 0:  # what is left is an earlier moment's truth, and says of when
        assert (verdict.ok, verdict.unsigned) == (True, 0)
        return
    assert not verdict.ok
    assert why in str((verdict.first_bad or {})["why"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_of_an_export_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    signed, one, raw = _export_once(tmp_path_factory)
    place, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    altered = bytearray(raw)
    altered[place] ^= 1 << bit
    one.write_bytes(altered)
    verdict = verify([one], trusted=signed.public)
    assert not verdict.ok
    assert (verdict.first_bad or {})["line"] == raw[:place].count(b"\n") + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_records_removed_repeated_or_put_elsewhere_are_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    signed, one, raw = _export_once(tmp_path_factory)
    whole = raw.splitlines(keepends=True)
    numbers = list(range(len(whole)))
    order = data.draw(st.one_of(st.permutations(numbers), st.lists(st.sampled_from(numbers))), label="lines kept")
    one.write_bytes(b"".join(whole[number] for number in order))
    verdict = verify([one], trusted=signed.public)
    truth = numbers, numbers[:-1]  # without the export's own statement it is what was signed before
    assert verdict.ok == (list(order) in truth), order


_exported: list[tuple[Signed, Path, bytes]] = []


def _export_once(factory: pytest.TempPathFactory) -> tuple[Signed, Path, bytes]:
    if not _exported:
        directory = factory.mktemp("signed")
        signed = Signed(directory, 2)
        one = signed.exported(directory / "export.jsonl")
        _exported.append((signed, one, one.read_bytes()))
    return _exported[0]


def test_parts_of_a_large_file_are_judged_as_one(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.journal.verify.PART", 700)
    one = signed.exported(tmp_path / "export.jsonl")
    verdict = verify([one], trusted=signed.public, processes=2)
    assert (verdict.ok, verdict.events) == (True, 12)
    whole = lines(one)
    for number in range(12):
        one.write_bytes(b"".join(whole[:number] + whole[number + 1 :]))
        verdict = verify([one], trusted=signed.public)
        assert not verdict.ok, number
        one.write_bytes(
            b"".join([*whole[:number], whole[number].replace(b"success", b"failure"), *whole[number + 1 :]])
        )
        found(verify([one], trusted=signed.public), one, number + 1, "altered")


def test_a_statement_of_another_journal_is_refused(signed: Signed, tmp_path: Path) -> None:
    other = Statements(tmp_path / "other.jsonl", "elsewhere")
    other.append(signed.key, {"heads": {}})
    with signed.statements.path.open("ab") as file:
        file.write(other.path.read_bytes())
    with pytest.raises(BadStatement, match="removed or reordered"):
        signed.statements.told()
