"""Room on the disk: below a floor nothing new comes in, so that what is under way can be written.

Letters that leave, and what becomes of them, go on being recorded until the disk is truly full.

Source: security.md L-56: 500 MiB or 5 %, of which we take the less: a twentieth of a large disk is
more than a newsletter ever needs, and 500 MiB of a small one is half of it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from fediletter.errors import AppError
from fediletter.limits import FREE_SPACE_BYTES, FREE_SPACE_SHARE


@dataclass(frozen=True, slots=True)
class Room:
    """How much is free where a directory lies, and below what nothing new comes in."""

    free_bytes: int
    floor_bytes: int

    def has_place_for(self, more_bytes: int = 0) -> bool:
        """Whether the floor is kept when so much has come."""
        return self.free_bytes - more_bytes >= self.floor_bytes


def room_in(directory: Path) -> Room:
    """Look. Raises OSError if there is no such directory."""
    disk = shutil.disk_usage(directory)
    return Room(disk.free, min(FREE_SPACE_BYTES, int(disk.total * FREE_SPACE_SHARE)))


def no_room() -> AppError:
    """What a person is told."""
    return AppError(507, "There is no room left on the server.", "Make room, then try again.")
