"""Everything out, in open formats: lists, letters, keys, and a site that needs no server."""
