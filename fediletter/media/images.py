"""The child process that decodes what people upload: reads one image, writes JSON.

Only four formats are tried; every image is decoded and encoded anew, so nothing of the original
file survives: no metadata, no payload behind the picture. Memory and time are limited.

Sources: security.md ME-1 to ME-6, L-50 to L-54; email.md HT-12.
"""

import json
import resource
import sys
import warnings
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from fediletter.limits import (
    IMAGE_CPU_SECONDS,
    IMAGE_FRAMES,
    IMAGE_FRAMES_PIXELS,
    IMAGE_MEMORY_BYTES,
    IMAGE_PIXELS,
    IMAGE_SIDE,
    IMAGE_STORED_SIDE,
)

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
WIDTHS = (1600, 960, 480)
_TOO_MANY_MARKS = 5000
_TOO_MANY_PIXELS = "This image has too many pixels. Make it smaller first."


class Unusable(Exception):
    """Not an image that can be taken; says why, as a message id."""


def main(source: str, target: str) -> None:
    """Read the image at `source`; write renditions into the directory `target`."""
    resource.setrlimit(resource.RLIMIT_CPU, (IMAGE_CPU_SECONDS, IMAGE_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (IMAGE_MEMORY_BYTES, IMAGE_MEMORY_BYTES))
    warnings.simplefilter("error")
    try:
        answer: dict[str, object] = {"files": convert(Path(source).read_bytes(), Path(target))}
    except Unusable as wrong:
        answer = {"problem": str(wrong)}
    except MemoryError:
        answer = {"problem": _TOO_MANY_PIXELS}
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        answer = {"problem": "This file is not an image that we can read."}
    sys.stdout.write(json.dumps(answer))


def convert(octets: bytes, target: Path) -> list[dict[str, object]]:
    """Renditions of an image, the widest first."""
    image: Image.Image = Image.open(BytesIO(octets), formats=FORMATS)
    if image.width * image.height > IMAGE_PIXELS or max(image.size) > IMAGE_SIDE:
        raise Unusable(_TOO_MANY_PIXELS)
    frames = _frames(image, octets)
    if frames > IMAGE_FRAMES or frames * image.width * image.height > IMAGE_FRAMES_PIXELS:
        raise Unusable("This animation is too long. Take one picture of it.")
    image = _plain(ImageOps.exif_transpose(_small(image)))
    has_alpha = image.mode == "RGBA"
    files: list[dict[str, object]] = []
    for width in [image.width, *(width for width in WIDTHS if width < image.width)]:
        height = max(1, round(image.height * width / image.width))
        resized = image.resize((width, height), Image.Resampling.LANCZOS)
        suffix = "png" if has_alpha else "jpg"
        path = target / f"{width}.{suffix}"
        if has_alpha:
            resized.save(path, "PNG", optimize=True)
        else:
            resized.save(path, "JPEG", quality=84, optimize=True, progressive=True)
        files.append(
            {
                "file": path.name,
                "mime": "image/png" if has_alpha else "image/jpeg",
                "width": width,
                "height": height,
                "bytes": path.stat().st_size,
            }
        )
    return files


def _frames(image: Image.Image, octets: bytes) -> int:
    """How many frames, at least; none of them is decoded.

    Counting those of a GIF walks through them one by one. Where the mark that begins a frame stands
    so often that chance cannot have put it there, walking would only cost time.
    """
    marks = octets.count(b"\x00\x2c") if image.format == "GIF" else 0
    return marks if marks > _TOO_MANY_MARKS else int(getattr(image, "n_frames", 1))


def _small(image: Image.Image) -> Image.Image:
    """The image decoded, neither side longer than what is stored (L-53).

    It is made small before anything else, as each further step copies what there is: 40 million
    pixels are 160 MB each time (L-51, L-54). A WebP is held four times while it is decoded, so
    that of more than some 25 million pixels is too much.
    """
    if image.mode.startswith("I;16"):
        image = image.point(lambda level: level * (1 / 256)).convert("L")
    elif "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("1", "P"):
        image = image.convert("RGB")
    image.thumbnail(
        (IMAGE_STORED_SIDE, IMAGE_STORED_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0
    )
    return image


def _plain(image: Image.Image) -> Image.Image:
    """Plain sRGB or sRGB with alpha, nothing else attached (ME-4)."""
    profile = image.info.get("icc_profile")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    mode = "RGBA" if has_alpha else "RGB"
    converted = image.convert(mode)
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            found = ImageCms.profileToProfile(
                converted, source, ImageCms.createProfile("sRGB"), outputMode=mode
            )
            converted = found if found is not None else converted
        except ImageCms.PyCMSError:
            pass  # A broken profile: the plain numbers are the best there is.
    bare = Image.new(mode, converted.size)
    bare.paste(converted)
    return bare


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
