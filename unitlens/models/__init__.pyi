from .hooks import edit as edit
from .hooks import record as record
from .loading import classifier as classifier
from .loading import generator as generator
from .loading import load as load
from .network import Network as Network
from .passes import evaluating as evaluating
from .preprocessing import Preprocessing as Preprocessing
