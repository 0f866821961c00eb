"""Options of `unitlens label` that belong to one method, and the search by words."""
