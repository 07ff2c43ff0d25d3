"""alembic's entry: the connection, in whose transaction all happens, comes from storage.migrate."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes.get("metadata"),
    version_table=attributes["table"],
    # Of a database that packages share, only the tables of this one.
    include_name=lambda name, kind, _parents: kind != "table" or name in attributes["metadata"].tables,
    render_as_batch=True,
)
context.run_migrations()
