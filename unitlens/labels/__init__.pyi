from .by_words.naming import words as words
from .compositional.naming import formulas as formulas
from .compositional.naming import ranges as ranges
from .files import open_labels as open_labels
from .given.reading import given_labels as given_labels
from .result import Labels as Labels
from .run_pass import activations as activations
