"""Of a replica that was promoted nothing is believed before it was brought forward: it may lack what was known."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import event

from sidecar import app
from sidecar.standby import high_water
from sidecar.standby.outbox.other_lives import ANY_LIFE
from sidecar.standby.outbox.watermark import Mark
from tests.support.gateway import NEVER_SENT, InProcess
from tests.support.upstream import HOLT


class Server:
    """As PostgreSQL tells of its lives: each new connection belongs to the one that it is in now."""

    def __init__(self) -> None:
        self.engine = app._running[-1].engine
        self.life = 0
        event.listen(self.engine, "connect", lambda _, record: record.info.update(understudy_incarnation=self.life))

    def begins(self, life: int) -> None:
        self.life = life
        self.engine.dispose()

    def is_brought_forward(self) -> high_water.WentBack | None:
        with self.engine.execution_options(**ANY_LIFE).begin() as connection:
            return high_water.bring_forward(connection, Mark())


def test_nobody_is_told_that_there_is_no_record_by_a_server_that_lacks_it(tmp_path: Path) -> None:
    with InProcess(tmp_path) as gateway:
        gateway.upstream.state.notes[1] = {"id": 1, "title": "n1", "patient_id": 17}
        gateway.knows("/notes", HOLT)
        gateway.knows("/notes/1", HOLT)
        gateway.knows("/notes/2", HOLT)  # 404
        server = Server()
        server.begins(3)
        assert server.is_brought_forward() is None
        assert [gateway.down(f"/notes/{number}", HOLT).status for number in (1, 2)] == [200, 404]
        server.begins(5)
        gateway.upstream.fault = NEVER_SENT
        for number in (1, 2):
            assert gateway.ask("GET", f"/notes/{number}", HOLT).status == 503
            assert gateway.ask("PATCH", f"/notes/{number}", HOLT, {"title": "n"}).status == 503
        found = server.is_brought_forward()
        assert found is not None
        assert found.promoted
        assert gateway.ask("GET", "/notes/1", HOLT).status == 503, "it is unverified"
        gateway.upstream.fault = None
        assert gateway.knows("/notes/1", HOLT).status == 200
