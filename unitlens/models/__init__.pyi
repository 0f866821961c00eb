from .hooks import edit as edit
from .hooks import record as record
from .network import Network as Network
from .network import Preprocessing as Preprocessing
from .network import classifier as classifier
from .network import evaluating as evaluating
from .network import load as load
