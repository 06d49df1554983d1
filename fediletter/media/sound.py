"""The child process that looks at a sound file: reads one, takes its tags out, writes JSON.

Three kinds that podcast programs play. The sound itself stays as it is (encoding anew would cost
quality and minutes); what is known of people, places and programs, and the pictures, go with the
tags.

Sources: security.md ME-1, ME-4, ME-6, L-54.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from fediletter.limits import IMAGE_CPU_SECONDS, IMAGE_MEMORY_BYTES

_UNREADABLE = "This file is not a sound that we can read: MP3, M4A or Ogg."


def main(source: str) -> None:
    """Take the tags out of the file at `source`; say what it is."""
    resource.setrlimit(resource.RLIMIT_CPU, (IMAGE_CPU_SECONDS, IMAGE_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (IMAGE_MEMORY_BYTES, IMAGE_MEMORY_BYTES))
    sys.stdout.write(json.dumps(strip(Path(source))))


def strip(path: Path) -> dict[str, object]:
    """Kind and length of a sound, its tags gone from the file; or a `problem`."""
    from mutagen._util import MutagenError  # noqa: PLC0415 (in the child alone)
    from mutagen.apev2 import delete as delete_ape  # noqa: PLC0415
    from mutagen.mp3 import MP3  # noqa: PLC0415
    from mutagen.mp4 import MP4  # noqa: PLC0415
    from mutagen.oggopus import OggOpus  # noqa: PLC0415
    from mutagen.oggvorbis import OggVorbis  # noqa: PLC0415

    kinds = ((MP3, "mp3", "audio/mpeg"), (MP4, "m4a", "audio/mp4"),
             (OggOpus, "ogg", "audio/ogg"), (OggVorbis, "ogg", "audio/ogg"))  # fmt: skip
    for kind, suffix, mime in kinds:
        if not _looks_like(path, suffix):
            continue
        try:
            if _seconds(kind(path)) <= 0:
                continue
            kind(path).delete()
            if kind is MP3:
                delete_ape(path)
            length = _seconds(kind(path))
        except (MutagenError, ValueError, KeyError, IndexError, OSError, MemoryError):
            continue
        return {"suffix": suffix, "mime": mime, "seconds": max(1, round(length))}
    return {"problem": _UNREADABLE}


def _seconds(sound: Any) -> float:
    """The length; 0 when the frames do not look like one sound."""
    return 0.0 if getattr(sound.info, "sketchy", False) else float(sound.info.length)


def _looks_like(path: Path, suffix: str) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    if suffix == "mp3":
        return head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    return head[4:8] == b"ftyp" if suffix == "m4a" else head[:4] == b"OggS"


if __name__ == "__main__":
    main(sys.argv[1])
