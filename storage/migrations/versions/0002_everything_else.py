"""What federation, mail, delivery and the desk need beside the baseline.

Columns are added one by one: SQLite then copies no table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("post", sa.Column("hashtags", sa.Text(), server_default="", nullable=False))
    op.add_column("reply", sa.Column("context", sa.Text(), nullable=True))
