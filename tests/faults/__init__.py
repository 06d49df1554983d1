"""Fault tests: programs that break things and count who got what (security.md section 12).

`python -m tests.faults FT-8 --seed 7 --rounds 3`, `python -m tests.faults short`, `… all`.
"""
