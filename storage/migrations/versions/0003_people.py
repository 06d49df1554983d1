"""What the founders' accounts, the agenda and the readers' site need.

Columns are added one by one: SQLite then copies no table.
"""

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filled by the commits that follow, until the first release that holds it."""
