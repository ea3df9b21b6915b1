"""Expectation: images and references to posterior weights and their sums (getImg .. store).

In: particle batches, references, the sampling.  Out: `ExpectationResult`, the sums of a half-set,
and `ParticleResults`, each particle's best pose.  Specification E 4.6, 5; design.md 3.
"""
