"""Subscribers in, from our own export and from other programs'.

A list is read whole before anything is written, into a notebook beside its file: one entry for
each person, the strictest of their rows (IM-4), and a line for each row that was refused. What is
written then goes by thousands, each with its place in the same transaction, so that a process that
dies leaves a list that another carries on. Nobody who left is ever brought back.

Modules, from the octets up: `files`, `cells`, `providers`, `deciding`, `notebook`, `reading`,
`writing`, `lists`.

Sources: email.md section 13 (IM-1 to IM-7), OP-5, OP-8; security.md ME-9, PR-9, WE-18.
"""

from fediletter.importing.lists import Desk, Look, carry_on, drop, folder_of, take_in, tidy
from fediletter.importing.notebook import Refusal, refusals
from fediletter.importing.reading import Report
from fediletter.importing.writing import Wish, topics_of_labels

__all__ = [
    "Desk",
    "Look",
    "Refusal",
    "Report",
    "Wish",
    "carry_on",
    "drop",
    "folder_of",
    "refusals",
    "take_in",
    "tidy",
    "topics_of_labels",
]
