"""Errors with words for people.

`words` and `hint` are English message ids of the catalogues, with `{name}` slots; they are
translated where they are shown, never where they are raised. No internals, no blame.
"""

from collections.abc import Mapping, Sequence


class AppError(Exception):
    """Something a person can be told.

    Args:
        status: The HTTP status a page answers with; the command line exits with 1.
        words: What happened, as a message id.
        hint: What to do next, as a message id; empty when there is nothing to do.
        fields: Values of the slots in both.
        rejoin: Whether a link to the form of joining stands below.
    """

    def __init__(
        self,
        status: int,
        words: str,
        hint: str = "",
        fields: Mapping[str, object] | None = None,
        *,
        rejoin: bool = False,
    ) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.hint = hint
        self.fields = dict(fields or {})
        self.rejoin = rejoin


class FormError(AppError):
    """A form that cannot be taken as it is: message ids by field name.

    Nothing typed is lost: the page is shown again with what was sent.
    """

    def __init__(self, problems: Mapping[str, str], fields: Mapping[str, object] | None = None):
        super().__init__(422, "Some fields need another look.", fields=fields)
        self.problems = dict(problems)


class SettingsError(AppError):
    """Wrong settings, all named together."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(500, "The settings cannot be used: {problems}")
        self.problems = tuple(problems)
        self.fields = {"problems": "; ".join(problems)}
