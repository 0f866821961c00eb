"""Explain predictions of single images, and what follows from many of them: errors, shortcuts, pairs, attacks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
