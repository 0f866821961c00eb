from .planning import Plan as Plan
from .planning import plan as plan
from .result import Dissection as Dissection
from .result import open_run as open_run
from .run import dissect as dissect
