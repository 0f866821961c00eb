"""A pass of a network in evaluation mode, without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode, without gradients.

    Every module's ``training`` flag, and no more, is changed and put back afterwards, whatever happens.
    ``model.eval()`` is not called, as networks may do more in it (merge weights, say) than could be undone.

    Parameters
    ----------
    model : nn.Module
        Any network.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = False
        with torch.inference_mode():
            yield
    finally:
        for module, training in before:
            module.training = training
