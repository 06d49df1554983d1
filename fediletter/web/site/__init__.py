"""What readers see: pages, feeds, joining, choosing, leaving. No cookie, no script."""
