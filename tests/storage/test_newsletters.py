"""The one row of the publication."""

from datetime import UTC, datetime

import pytest

from storage.errors import Conflict
from storage.newsletters import create_newsletter


def test_a_second_newsletter_is_refused(store):
    """Else `init` on an installation that exists would go on as on a new one."""
    now = datetime(2026, 11, 24, tzinfo=UTC)

    with pytest.raises(Conflict):
        store.submit(
            create_newsletter, title="B", language="fr", list_label="letters", now=now
        ).result()
