"""HTTP signatures: draft-cavage-12, which every server takes, and RFC 9421, its successor."""
