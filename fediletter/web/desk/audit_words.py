"""What the list of deeds calls them: words for people, by the name in the database."""

from collections.abc import Callable, Iterable, Mapping

from storage.audit import Entry
from storage.ids import FounderId, PostId

_OF_PEOPLE = frozenset({"login refused", "person invited", "person removed", "role changed"})
_OF_POSTS = frozenset(
    {
        *("agenda: draft", "answer edited", "answer withdrawn", "correct", "edit"),
        *("give up", "poll", "publish", "schedule", "stop", "try again", "unschedule", "withdraw"),
    }
)
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
    "delete draft": "threw a draft away",
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
    "unschedule": "made a draft of a planned letter",
    "withdraw": "withdrew a letter",
    "writer agrees": "agreed that a mail is shown",
    "writer withdraws": "took back the consent to show a mail",
}


def words_for(action: str) -> str:
    """The message id of a deed; its name when there are no words yet."""
    if action.startswith("agenda: "):
        return _WORDS.get(action, "changed a subject of the agenda")
    return _WORDS.get(action, action)


def posts_in(entries: Iterable[Entry]) -> set[PostId]:
    """The posts that deeds were about."""
    found = (_numbered(one)[0] for one in entries if one.action in _OF_POSTS)
    return {PostId(int(number)) for number in found if number.isdigit()}


def about_of(
    entry: Entry,
    people: Mapping[FounderId, str],
    titles: Mapping[PostId, str],
    gettext: Callable[[str], str],
) -> str:
    """What a deed was about: names and titles of what is still here, else numbers; and facts."""
    number, rest = _numbered(entry)
    about = "" if "title" in entry.detail else number
    if number.isdigit() and entry.action in _OF_PEOPLE:
        about = people.get(FounderId(int(number))) or number
    elif number.isdigit() and entry.action in _OF_POSTS:
        about = titles.get(PostId(int(number))) or number
    facts = [
        " + ".join(gettext(_PROOFS.get(str(one), str(one))) for one in value)
        if isinstance(value, list)
        else str(value)
        for value in entry.detail.values()
    ]
    return " · ".join(part for part in (about, gettext(rest) if rest else "", *facts) if part)


def _numbered(entry: Entry) -> tuple[str, str]:
    """The id that a subject begins with, and what follows it: a role, a host."""
    number, _, rest = entry.subject.partition(" ")
    return number, rest
