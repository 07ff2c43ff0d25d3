"""A database that cannot be used is told by its true cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar import start
from sidecar.settings import SettingError, Settings
from sidecar.storage.database import create_all, in_request, open_engine


@pytest.mark.parametrize("how", ["not one", "overwritten"])
@pytest.mark.parametrize("act", [start.prepare, start.check], ids=["start", "check"])
def test_a_damaged_file_is_called_damaged(tmp_path: Path, how: str, act: object) -> None:
    settings = Settings(upstream="http://hosp.test", data=tmp_path / "data")
    settings.data.mkdir()
    path = settings.data / "understudy.db"
    if how == "not one":
        path.write_bytes(b"this never was a database" * 1000)
    else:
        engine = open_engine(settings)
        create_all(engine)
        engine.dispose()
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
        for left in settings.data.glob("understudy.db-[ws]*"):
            left.unlink()
    with pytest.raises(SettingError, match="understudy.db is damaged"):
        act(settings)  # type: ignore[operator]


@pytest.mark.parametrize(("deadline", "patience"), [(1, 0.8), (2.5, 2.0), (3, 2.0), (4, 2.0), (20, 10.0)])
def test_who_lets_users_wait_for_longer_waits_for_longer_itself(deadline: float, patience: float) -> None:
    assert in_request(Settings(deadline=deadline)) == pytest.approx(patience)
