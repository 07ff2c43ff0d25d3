"""The trail's seals: a file that is altered, taken away or put there is found; one whose time came is not missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli.audit.proof import audit_verify
from sidecar.events import trail, trail_seal
from sidecar.events.store.sqlite import EmbeddedStore
from sidecar.journal.keys import SigningKey, raw_public
from sidecar.journal.offsets import started
from sidecar.journal.signer import Signer
from sidecar.journal.statements import statements_of
from sidecar.settings import Settings
from tests.unit.sidecar.journal.test_signer import Signed
from tests.unit.sidecar.journal.test_verify import journal


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


@pytest.fixture
def kept(signed: Signed, tmp_path: Path) -> list[Path]:
    """Three files of the trail, the oldest first."""
    folder = tmp_path / trail.FOLDER
    for path in sorted(signed.paths, key=lambda path: started(path.stem)):
        trail.keep(path, folder, signed.key)
    return sorted(folder.glob(f"*{trail.SUFFIX}"), key=lambda path: started(path.name.removesuffix(trail.SUFFIX)))


def stem(path: Path) -> str:
    return path.name.removesuffix(trail.SUFFIX)


def seal_of(path: Path) -> Path:
    return path.with_name(stem(path) + trail_seal.SEAL)


def found(signed: Signed, kept: list[Path], kept_since: int = 0, *others: str) -> trail_seal.Verdict:
    names = [stem(path) for path in kept]
    return trail_seal.verify(kept[0].parent, trail.SUFFIX, {signed.public, *others}, names, kept_since)


def test_what_was_put_away_is_as_it_was_sealed(signed: Signed, kept: list[Path]) -> None:
    verdict = found(signed, kept)
    assert (verdict.sealed, verdict.older, verdict.bad) == (3, 0, [])
    for path in signed.paths:  # again, after a crash before its segment was removed
        trail.keep(path, kept[0].parent, signed.key)
    assert found(signed, kept).bad == []


def test_they_are_put_away_in_any_order(signed: Signed, kept: list[Path]) -> None:
    for path in kept:
        seal_of(path).unlink()
    for path in (kept[1], kept[2], kept[0]):
        trail_seal.seal(path, signed.key, trail.SUFFIX)
    assert found(signed, kept).bad == []
    path = kept[2]
    path.unlink()
    seal_of(path).unlink()
    assert any("came before it" in why for why in found(signed, kept).bad)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_damage_to_any_file_is_found(signed: Signed, kept: list[Path], which: int) -> None:
    path = kept[which]
    good, seal = path.read_bytes(), seal_of(path).read_bytes()
    path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    assert any("altered: the file" in why for why in found(signed, kept).bad)
    path.write_bytes(good)
    seal_of(path).write_bytes(seal.replace(b'"sha256":"', b'"sha256":"0', 1))
    assert any("altered" in why for why in found(signed, kept).bad)
    seal_of(path).write_bytes(seal)
    assert found(signed, kept).bad == []
    path.unlink()
    assert any("removed" in why for why in found(signed, kept).bad), "its seal is left"
    seal_of(path).unlink()
    assert any("removed" in why for why in found(signed, kept).bad), "its seal is gone too"


def test_what_another_key_sealed_is_told_unless_it_is_trusted(signed: Signed, kept: list[Path], tmp_path: Path) -> None:
    other = SigningKey(tmp_path / "other-key")
    seal_of(kept[2]).unlink()
    trail_seal.seal(kept[2], other, trail.SUFFIX)
    public = raw_public(other.private())
    assert found(signed, kept).bad == [f"{seal_of(kept[2]).name}: signed by another key, {public}"]
    assert found(signed, kept, 0, public).bad == []


def test_what_went_when_its_time_had_come_is_not_missed(signed: Signed, kept: list[Path]) -> None:
    gone = trail.drop_before(kept[0].parent, kept[0].stat().st_mtime + 1, [])
    assert set(gone) == {path.name for path in kept}
    verdict = trail_seal.verify(kept[0].parent, trail.SUFFIX, {signed.public}, [], 0)
    assert (verdict.sealed, verdict.bad) == (0, [])


def test_the_oldest_goes_first_and_the_others_hold(signed: Signed, kept: list[Path]) -> None:
    since = started(stem(kept[0]))[0]
    kept[0].unlink()
    seal_of(kept[0]).unlink()
    assert found(signed, kept, since).bad == []
    assert len(found(signed, kept, since - 1).bad) == 2, "it is missed by what came after, and by the statements"


def test_files_from_before_there_were_seals_are_counted(signed: Signed, kept: list[Path]) -> None:
    for path in kept:
        seal_of(path).unlink()
    for path in kept[1:]:
        trail_seal.seal(path, signed.key, trail.SUFFIX)
    verdict = found(signed, kept)
    assert (verdict.older, verdict.bad) == (1, [])
    seal_of(kept[2]).unlink()
    assert any("it has no seal, and older ones have" in why for why in found(signed, kept).bad)


def test_audit_verify_holds_what_the_journal_left_behind(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    key, statements = SigningKey(settings.sign_key_file), statements_of(settings)
    signer = Signer(settings.data / "journal", statements, key, lambda *_: None)
    first, _second = journal(settings.data / "journal", 4), journal(settings.data / "journal", 4)
    signer.look()
    signer.sign()
    trail.keep(first, settings.data / trail.FOLDER, key)
    assert signer.dropping({first.stem: trail_seal.PUT_AWAY})
    first.unlink()
    store = EmbeddedStore(settings.data / "events.db")
    store.install()
    store.close()

    def verified() -> tuple[int, str]:
        done = CliRunner().invoke(audit_verify, [], obj=settings)
        return done.exit_code, done.output

    code, said = verified()
    assert (code, "1 files are as they were sealed" in said) == (0, True), said
    (kept,) = (settings.data / trail.FOLDER).glob(f"*{trail.SUFFIX}")
    good = kept.read_bytes()
    kept.write_bytes(good + b"x")
    code, said = verified()
    assert (code, "altered: the file is not what was sealed" in said) == (1, True), said
    kept.unlink()
    seal_of(kept).unlink()
    code, said = verified()
    assert (code, "its segment was put away, and its time has not come" in said) == (1, True), said
