"""Fixtures for every test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.postgres import postgres_url
from tests.shop import Shop, running_shop

__all__ = ["postgres_url"]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A running shop that sends at once and catches its mail."""
    async with running_shop(tmp_path / "shop") as running:
        yield running
