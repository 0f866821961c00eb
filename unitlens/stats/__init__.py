"""Arithmetic of counts: masks, thresholds, scores, folds, evidence and chance, without models and files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
