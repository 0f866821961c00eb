"""Images that were decoded and scaled before, and what was marked in them, in the cache of this user."""
