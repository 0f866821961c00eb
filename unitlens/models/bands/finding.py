"""How many bands a network takes: what its first convolution says, tried out where that is not three."""

import torch
from torch import nn

from unitlens.models.bands.limits import MOST_BANDS
from unitlens.models.passes import evaluating, first_bands, refuses_bands


def bands_taken(model: nn.Module, image_size: tuple[int, int]) -> int | None:
    """Find how many bands the images of a network have.

    The first layer that has a width says it. Where that is another number than three, an image of so many bands goes
    through the network once, as a layer that is listed first need not be the first to see the image.

    Parameters
    ----------
    model : nn.Module
    image_size : (int, int)
        Height and width of its input.

    Returns
    -------
    int or None
        None where no such layer says it.

    Examples
    --------
    >>> bands_taken(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()), (16, 16))
    4
    """
    count = first_bands(model)
    if count is None or count > MOST_BANDS or count == 3:
        return 3 if count == 3 else None
    parameter = next(model.parameters())
    image = torch.zeros(1, count, *image_size, device=parameter.device, dtype=parameter.dtype)
    with evaluating(model):
        try:
            model(image)
        except (Exception, SystemExit) as error:  # whatever the network's own code raises
            return None if refuses_bands(error, model, image) else count
    return count
