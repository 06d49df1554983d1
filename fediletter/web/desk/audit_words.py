"""What the list of deeds calls them: words for people, by the name in the database."""

from collections.abc import Callable, Mapping

from storage.audit import Entry
from storage.ids import FounderId

_OF_PEOPLE = frozenset({"login refused", "person invited", "person removed", "role changed"})
_PROOFS = {
    "password": "password",
    "code": "code of the telephone",
    "recovery": "recovery code",
    "passkey": "passkey",
}
_WORDS = {
    "accept follower": "accepted a follower",
    "account reset": "set a new password, all else taken off",
    "agenda: draft": "made a draft of a subject",
    "alert": "warned the founders",
    "alias": "named another account as its own",
    "answer": "answered a reader",
    "answer edited": "corrected an answer",
    "answer withdrawn": "took an answer back",
    "approve": "showed an answer",
    "ask to show": "asked a writer whether a mail may be shown",
    "backup": "made a backup",
    "block": "blocked",
    "codes off": "switched codes off",
    "codes on": "switched codes on",
    "correct": "mailed a correction",
    "delete media": "deleted a file",
    "edit": "corrected a letter that is out",
    "erase": "erased a reader on their wish",
    "export": "exported",
    "founder added": "let a person in",
    "founder removed": "removed a person",
    "give up": "gave deliveries up",
    "hide": "hid an answer",
    "import blocks": "took in a list of blocks",
    "import readers": "imported readers",
    "invitation taken": "came in by an invitation",
    "login": "logged in",
    "login refused": "was not let in",
    "mail again": "sent a doubtful mail again",
    "mail domain": "tried a mail domain again",
    "mail leave": "left a doubtful mail alone",
    "mail lift": "lifted a stop of mail",
    "mail resume": "let a mailing go on",
    "move": "moved the account",
    "passkey added": "added a passkey",
    "passkey removed": "removed a passkey",
    "password changed": "changed the password",
    "password set": "set somebody’s password",
    "person invited": "invited a person",
    "person removed": "removed a person",
    "poll": "asked a question",
    "publish": "published",
    "quote revoked": "took back the consent to a quote",
    "recovery codes renewed": "made new recovery codes",
    "refuse follower": "refused a follower",
    "reset link": "made a link to set a new password",
    "restore": "restored a backup",
    "role changed": "changed a role",
    "schedule": "planned a letter",
    "sessions ended": "ended sessions",
    "set up": "set the newsletter up",
    "settings": "changed the settings",
    "settle report": "settled a report",
    "stop": "stopped a letter",
    "take in": "took in what had come to nothing",
    "try again": "tried deliveries again",
    "unblock": "lifted a block",
    "withdraw": "withdrew a letter",
    "writer agrees": "agreed that a mail is shown",
    "writer withdraws": "took back the consent to show a mail",
}


def words_for(action: str) -> str:
    """The message id of a deed; its name when there are no words yet."""
    if action.startswith("agenda: "):
        return _WORDS.get(action, "changed a subject of the agenda")
    return _WORDS.get(action, action)


def about_of(entry: Entry, people: Mapping[FounderId, str], gettext: Callable[[str], str]) -> str:
    """What a deed was about: ids, with the names of those who are still here, and facts."""
    subject, _, role = entry.subject.partition(" ")
    if entry.action in _OF_PEOPLE and subject.isdigit():
        subject = people.get(FounderId(int(subject))) or subject
    facts = [
        " + ".join(gettext(_PROOFS.get(str(one), str(one))) for one in value)
        if isinstance(value, list)
        else str(value)
        for value in entry.detail.values()
    ]
    return " · ".join(part for part in (subject, gettext(role), *facts) if part)
