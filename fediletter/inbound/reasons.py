"""Why something that was received came to nothing, in words for founders.

The store keeps a short fixed text, the code, perhaps with `: ` and a detail in the words of the
protocol; `told` makes of it the message id of a whole sentence, which a page shows in its language.
Of the codes each handler names its own; here stands what founders read of each.

Sources: issue 3, "Bad input"; RE-8; IN-33 (what is held).
"""

from federation.errors import (
    DocumentGone,
    FederationError,
    FetchFailed,
    ForbiddenAddress,
    TryFetchLater,
)

TOO_MANY_ANSWERS = "too many answers"
TOO_MANY_FOLLOWERS = "too many new followers of one host"
NO_HANDLER = "nothing to do for this type"
BLOCKED = "blocked meanwhile"

# Kept for a founder's decision, with all its octets (IN-33); anything else with a reason is over.
HELD = frozenset({TOO_MANY_ANSWERS, TOO_MANY_FOLLOWERS})

_TROUBLE: tuple[tuple[type[Exception], str], ...] = (
    (DocumentGone, "gone"),
    (TryFetchLater, "no answer at present"),
    (ForbiddenAddress, "a forbidden address"),
    (FetchFailed, "what was fetched cannot be used"),
    (FederationError, "what was sent cannot be used"),
    (Exception, "a mistake of ours"),
)

SENTENCES = {
    TOO_MANY_ANSWERS: "More came than we take of one account in an hour, or below one letter. It "
    "is kept for thirty days; you can take it in later.",
    TOO_MANY_FOLLOWERS: "More new followers came at once from one place than people usually do. "
    "You decide about this one under Readers.",
    NO_HANDLER: "This kind of message means nothing to a newsletter.",
    BLOCKED: "Its sender was blocked before it was taken in.",
    # What went wrong while it was taken in.
    "gone": "The other server says that this is not there any more.",
    "no answer at present": "The other server does not answer at present.",
    "a forbidden address": "It refers to an address that we never connect to.",
    "what was fetched cannot be used": "What the other server showed cannot be used.",
    "what was sent cannot be used": "What the other server sent cannot be used.",
    "a mistake of ours": "We could not take it in: a mistake of ours.",
    # Followers.
    "follows nobody of ours": "It wants to follow an account that is not here.",
    "follows an account that has moved": "Your account has moved: nobody new can follow this one.",
    "nobody follows the instance actor": "It wants to follow the server itself, which says "
    "nothing.",
    "blocks nobody of ours": "It blocks an account that is not here.",
    "the actor is gone": "The account that sent it does not exist any more.",
    "an actor that we never met": "It is about an account that has nothing to do with you.",
    # Answers and mentions.
    "answers nothing of ours": "It answers nothing of yours and does not name you.",
    "is nothing that we read": "It holds nothing that could be an answer.",
    "the object is not at the actor's own host": "It claims to come from another server than it "
    "does.",
    "is not attributed to its actor": "It does not say that its sender has written it.",
    "is of another author": "It wants to change what somebody else has written.",
    "is here already": "It is here already.",
    "is not newer than what is here": "A newer version is here already.",
    "was deleted before it came": "Its author had deleted it before it came.",
    # Reactions, votes, quotes.
    "is about nothing of ours": "It is about nothing of yours that is public.",
    "was undone before it came": "It was taken back before it came.",
    "may not be quoted": "It wants to quote what is not public, or what you have taken back.",
    "the quoting post is not at the actor's own host": "The quote claims to be on another server "
    "than its author.",
    "is no poll of ours": "It votes, but not in a poll of yours.",
    "is no poll": "It votes, but not in a poll of yours.",
    "the poll has ended": "The poll had ended.",
    "is no answer of this poll": "It votes for something that was not asked.",
    "has voted before": "Its author has voted already.",
    "nobody votes in their own poll": "Nobody votes in their own poll.",
    # What is taken back or changed.
    "undoes what somebody else did": "It wants to take back what somebody else did.",
    "nothing of this is here yet": "It takes back something that is not here.",
    "deletes what is not at the actor's own host": "It wants to delete something of another "
    "server.",
    "its server does not say that this account is gone for good": "It says that an account is "
    "gone; the account's own server does not say so.",
    "updates what is not at the actor's own host": "It wants to change something of another "
    "server.",
    "updates another actor": "It wants to change another account.",
    # Moves and reports.
    "moves somebody else, or nowhere": "It wants to move somebody else's account, or says not "
    "where to.",
    "moves to an account that is gone": "It moves to an account that does not exist any more.",
    "moves to an account that does not name this one": "It moves to an account that does not say "
    "that both are the same.",
    "moves, and follows nothing of ours": "The account that moves does not follow you.",
    "moved already in the last seven days": "The account has moved already in the last seven days.",
    "reports nothing of ours": "It reports nothing of yours.",
}


def reason_of(trouble: Exception) -> str:
    """The code of what went wrong, with a detail."""
    code = next(code for kind, code in _TROUBLE if isinstance(trouble, kind))
    detail = trouble.detail if isinstance(trouble, FederationError) else type(trouble).__name__
    return f"{code}: {detail}" if detail else code


def told(reason: str | None) -> tuple[str, str]:
    """The message id of a sentence for founders, and the detail; either may be empty."""
    code, _, detail = (reason or "").partition(": ")
    return SENTENCES.get(code, ""), detail
