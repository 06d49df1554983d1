"""The schema and the migrations say the same, on both databases."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from storage.errors import WrongSchema
from storage.migrate import HEAD, check, migrate
from storage.schema import metadata


def test_the_migrations_lead_to_the_schema(store):
    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []


@pytest.mark.rule("RE-15")
def test_migrating_again_changes_nothing_and_a_newer_database_is_refused(store):
    migrate(store.engine)
    assert check(store.engine)

    def newer(tx):
        tx.execute(sa.text(f"UPDATE alembic_version SET version_num = '{HEAD}9'"))

    store.submit(newer).result()
    with pytest.raises(WrongSchema):
        migrate(store.engine)
