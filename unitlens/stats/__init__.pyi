from .counts import Counts as Counts
from .scores import SCORES as SCORES
from .scores import iou as iou
