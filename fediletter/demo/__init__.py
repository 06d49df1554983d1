"""The whole promise on one's own machine: a shop, a reader's server, a mailbox."""
