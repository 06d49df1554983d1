"""The people of the desk: who they are, how they prove it, what they may do."""
