"""The M-step: from accumulated sums to maps, spectra and model parameters.

In: `BackprojectionSums` and `ParameterSums` of each half-set.  Out: maps, sigma2, tau2, data versus
prior, FSC, priors, noise spectra and scales of the next iteration (specification M 1.3-4.11).
"""
