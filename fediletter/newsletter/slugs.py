"""Slugs: a title as the last part of an address."""

import re
import unicodedata

_LONGEST = 60
_LIGATURES = str.maketrans({"œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae", "ß": "ss", "ø": "o"})


def slug_of(title: str) -> str:
    """Lower-case ASCII words joined by hyphens, at most 60 characters; never empty.

    >>> slug_of("L’été, déjà : du lin & du cœur")
    'l-ete-deja-du-lin-du-coeur'
    """
    folded = unicodedata.normalize("NFKD", title.translate(_LIGATURES))
    plain = "".join(
        letter if letter.isascii() else "" if unicodedata.combining(letter) else " "
        for letter in folded
    )
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if len(slug) > _LONGEST:
        slug = slug[:_LONGEST].rpartition("-")[0] or slug[:_LONGEST]
    return slug or "letter"
