"""Figures and the HTML page of a run, made from the run's own files.

What comes in: the STAR files and maps that a run has written. What goes out: PNG files and a page
that holds them. matplotlib is the optional extra ``report``.
"""
