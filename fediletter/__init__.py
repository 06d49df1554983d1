"""fediletter: one text in a form, to the fediverse, to mailboxes and to the web."""

__version__ = "0.1.0"
__all__ = ["__version__"]
