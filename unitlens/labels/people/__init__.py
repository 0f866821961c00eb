"""Labels put to people: which of several labels fits what excites a unit, and how often theirs is the method's."""
