"""PostgreSQL tells who listens that what every process looks at has changed."""

from alembic import op

revision = "0010"
down_revision = "0009"
readable_from = "0005"
TABLES = (
    "aliases", "break_glass", "collections", "credentials", "endpoint_states", "evidence", "outbox", "owners",
    "policy_deeds", "policy_exceptions", "policy_habits", "policy_modes", "retirements", "revocations", "standby_meta",
    "tallies",
)  # fmt: skip


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        "CREATE FUNCTION understudy_changed() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_notify('understudy', ''); RETURN NULL; END $$"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER understudy_changed AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION understudy_changed()"
        )
