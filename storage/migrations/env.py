"""Runs the migrations on the connection that `storage.migrate` hands over."""

from alembic import context

from storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # The caller's transaction holds all of it.
    render_as_batch=True,
)
context.run_migrations()
