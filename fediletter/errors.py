"""Errors with words for people.

`words` and `hint` are English message ids of the catalogues, with `{name}` slots; they are
translated where they are shown, never where they are raised. No internals, no blame.
"""

from collections.abc import Callable, Mapping, Sequence


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

    def fields_in(self, _gettext: Callable[..., str]) -> dict[str, object]:
        """The fields in one language; the same in all, but where words are among them."""
        return self.fields


class FormError(AppError):
    """A form that cannot be taken as it is: message ids by field name.

    Nothing typed is lost: the page is shown again with what was sent.
    """

    def __init__(self, problems: Mapping[str, str], fields: Mapping[str, object] | None = None):
        super().__init__(422, "Some fields need another look.", fields=fields)
        self.problems = dict(problems)


class SettingsError(AppError):
    """Wrong settings, all named together: where each stands, a message id, and its fields."""

    def __init__(self, problems: Sequence[tuple[str, str, Mapping[str, object]]]) -> None:
        super().__init__(500, "The settings cannot be used: {problems}")
        self.problems = tuple(problems)
        self.fields = self.fields_in(lambda words, **fields: words.format(**fields))

    def fields_in(self, gettext: Callable[..., str]) -> dict[str, object]:
        """The fields in one language."""
        said = (f"{place}: {gettext(words, **fields)}" for place, words, fields in self.problems)
        return {"problems": "; ".join(said)}
