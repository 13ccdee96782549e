"""``make screenshots``: pictures of every page that a customer can see, to be looked at by people."""
