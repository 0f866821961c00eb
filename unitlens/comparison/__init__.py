"""Dissections side by side (`compare`), and the checks of a single one (`audit`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
