"""Options of `unitlens label` that belong to one method, and what is done with them."""
