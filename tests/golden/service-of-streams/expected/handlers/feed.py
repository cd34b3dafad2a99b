"""Service `feed`.

`sagagen generate` created this file once; from now on it is yours.
"""

from generated.services.feed import FeedHandlers


class FeedService(FeedHandlers):
    pass
