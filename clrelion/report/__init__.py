"""The page of a run, made from the run's own files, and its figures as PNG and CSV.

What comes in: the STAR files and maps that a run has written, clrelion's or RELION's. What goes
out: one HTML file that needs no other, and a folder with each figure. The figures are drawn by the
few lines of `drawing`, on an SVG or on a Pillow canvas.
"""
