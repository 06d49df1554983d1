"""Bringing a database to the schema of this program: Alembic, forward only.

Each migration runs in one transaction on either database, so that a kill leaves it before or after
(RE-15). Alembic is loaded only when there is something to do: starting must be quick.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from storage.errors import WrongSchema

HEAD = "0004"
_SCRIPTS = Path(__file__).parent / "migrations"


def version_of(connection: Connection) -> str | None:
    """The schema version of a database; None when it is empty."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def check(engine: Engine) -> bool:
    """Whether the database is at the version of this program.

    Raises:
        WrongSchema: It is newer than this program.
    """
    with engine.connect() as connection:
        version = version_of(connection)
    if version is not None and version > HEAD:
        raise WrongSchema(version)
    return version == HEAD


def migrate(engine: Engine) -> None:
    """Bring the database forward; doing it again changes nothing.

    Raises:
        WrongSchema: It is newer than this program.
    """
    if check(engine):
        return
    from alembic import command  # noqa: PLC0415 (start-up time and memory)
    from alembic.config import Config  # noqa: PLC0415 (start-up time and memory)

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")
            # Two programs that start at once: the second waits, then finds the work done.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4283301)")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        finally:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only=ON")
