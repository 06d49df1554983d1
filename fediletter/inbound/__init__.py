"""What peers say to us: verified and kept, then applied, one verb of the network in each module."""
