"""Parity with RELION: runs both kinds of test sets and writes docs/parity.md.

``python -m tools.parity`` (``make parity``). Three stages, each of which can be repeated alone:
run (parity/runs, parity/steps), measure (parity/results/*.json), write (docs/parity.md).
"""
