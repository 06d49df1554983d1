"""The desk of the people who write: `login` decides who may, `page` draws, a file an area."""
