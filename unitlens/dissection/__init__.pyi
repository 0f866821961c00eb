from .planning import Plan as Plan
from .planning import plan as plan
from .repeating.rerunning import Rerun as Rerun
from .repeating.rerunning import rerun as rerun
from .result import Dissection as Dissection
from .result import open_run as open_run
from .run import dissect as dissect
from .work.merging import merge as merge
