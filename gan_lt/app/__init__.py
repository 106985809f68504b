"""`gan-lt app RUN`: a page to try a network in."""
