from .confused_pairs import confusions as confusions
from .confusions_result import Confusions as Confusions
from .explanation import Explanation as Explanation
from .explanation import Explanations as Explanations
from .images import explain as explain
