"""Everything from one database into another, of either kind: backup, restore, moving house.

Both stand at the schema of this program. The source is read on one snapshot, in batches; ids are
kept, and so is which ids were handed out before, so that none is used twice.

Sources: security.md RE-16, RE-17.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from storage.schema import metadata

_BATCH = 500


def is_empty(engine: Engine) -> bool:
    """Whether no installation lives in this database yet."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("newsletter"):
            return True
        return connection.execute(sa.text("SELECT 1 FROM newsletter LIMIT 1")).first() is None


def copy_everything(source: Engine, target: Engine) -> int:
    """Copy all rows into an empty database, in one transaction.

    Returns:
        How many rows.
    """
    with source.connect() as here, target.connect() as there:
        if here.dialect.name == "postgresql":
            here.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            here.exec_driver_sql("BEGIN")
        _begin(there)
        try:
            count = sum(_copy_table(here, there, table) for table in metadata.sorted_tables)
            there.exec_driver_sql("COMMIT")
        except BaseException:
            there.exec_driver_sql("ROLLBACK")
            raise
        finally:
            here.exec_driver_sql("ROLLBACK")
            if there.dialect.name == "sqlite":
                there.exec_driver_sql("PRAGMA query_only=ON")
    return count


def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        # A row may point at one that comes later (a reply at its parent): looked at in the end.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    else:
        connection.exec_driver_sql("BEGIN")


def _copy_table(here: Connection, there: Connection, table: sa.Table) -> int:
    order = list(table.primary_key.columns) or list(table.columns)
    rows = here.execute(sa.select(table).order_by(*order), execution_options={"yield_per": _BATCH})
    keys = [column.key for column in table.columns]
    count = 0
    for batch in rows.partitions():
        there.execute(sa.insert(table), [dict(zip(keys, row, strict=True)) for row in batch])
        count += len(batch)
    if "id" in table.c and isinstance(table.c.id.type, sa.Integer):
        _hand_on_ids(here, there, table.name)
    return count


def _hand_on_ids(here: Connection, there: Connection, name: str) -> None:
    """The highest id ever handed out: plain MAX would give those of deleted rows out again."""
    if here.dialect.name == "sqlite":
        query = "SELECT max(seq) FROM sqlite_sequence WHERE name = :name"
        last = here.execute(sa.text(query), {"name": name}).scalar()
    else:
        last = here.execute(sa.text(f"SELECT last_value FROM {_sequence(here, name)}")).scalar()  # noqa: S608
    if not last:
        return
    if there.dialect.name == "sqlite":
        there.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
        there.execute(
            sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"),
            {"name": name, "last": last},
        )
    else:
        there.execute(
            sa.text("SELECT setval(CAST(:sequence AS regclass), :last)"),
            {"sequence": _sequence(there, name), "last": last},
        )


def _sequence(connection: Connection, name: str) -> str:
    return str(
        connection.execute(
            sa.text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": name}
        ).scalar()
    )
