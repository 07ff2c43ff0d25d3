"""The rounds of replay: what others have changed is seen soon, also where a round had just looked and is the last."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.background.replaying import REFRESH_EVERY, Replaying
from sidecar.contract import Contract
from sidecar.events.recorder import Recorder
from sidecar.journal.writer import Journal
from sidecar.settings import Settings
from sidecar.storage.database import create_all, open_engine
from sidecar.storage.encryption import open_vault
from sidecar.takeover.coordinator import Switchboard
from sidecar.takeover.routing import Mode

CONTRACT = Contract.load("hosp")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, seal_key=tmp_path / "seal-key", upstream="http://127.0.0.1:1")


@pytest.fixture
def replaying(settings: Settings) -> Iterator[Replaying]:
    engine = open_engine(settings)
    create_all(engine)
    engine.dispose()
    journal = Journal(settings.data / "journal", "n", 1)
    made = Replaying(settings, CONTRACT, Recorder(journal, CONTRACT, "n", 1 << 20, open_vault(settings)))
    yield made
    stop = threading.Event()
    stop.set()
    made.run(stop)
    journal.close()


def test_what_another_changed_just_after_a_look_is_seen_at_the_next_though_nothing_more_happens(
    replaying: Replaying, settings: Settings
) -> None:
    engine = open_engine(settings)
    other = Switchboard(engine, CONTRACT.endpoints, "other")
    other.tick()
    replaying._round(look=True)
    other.takeover("notes.create", "Kim")
    engine.dispose()
    replaying._round(look=True)
    time.sleep(REFRESH_EVERY)
    replaying._round(look=False)
    assert replaying._switchboard.state("notes.create").mode is Mode.STANDBY
