"""Other labels for the units of a run: formulas, words, labels from elsewhere, side by side and under one evidence."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
