from .by_words.naming import words as words
from .files import open_labels as open_labels
from .given.reading import given_labels as given_labels
from .result import Labels as Labels
from .run_pass import activations as activations
