"""The loops that work: lanes are drained, steps taken, what was received is applied."""
