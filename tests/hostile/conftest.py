"""One besieged shop for all scenarios of a module: each brings people of its own."""

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("tests.hostile.siege")

from tests.hostile.siege import besieged  # noqa: E402


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory):
    async with besieged(tmp_path_factory.mktemp("siege")) as here:
        yield here
