"""How operating points behave under load: with several clients at once, and with batches of several sizes.

It knows nothing of search, as `timing`. Every setting, a point with a number of clients or with a size of
batches, is measured in short rounds. A round takes all settings in a newly drawn order, so that a slow minute
of the machine hits all of them alike.
"""

from imgbench.loads.asked import ALL, Loads
from imgbench.loads.batches import Batches, batches
from imgbench.loads.clients import Clients, concurrency

__all__ = ["ALL", "Batches", "Clients", "Loads", "batches", "concurrency"]
