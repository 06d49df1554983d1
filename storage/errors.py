"""What the store refuses. Database trouble itself passes through as SQLAlchemy raises it."""


class StoreError(Exception):
    """The root of the refusals below."""


class NotThere(StoreError):
    """The row asked for does not exist, or not in the state asked for."""


class Conflict(StoreError):
    """Somebody else was first: a name is taken, or a version has moved on."""


class WrongSchema(StoreError):
    """The database is newer than this program, or was never migrated."""
