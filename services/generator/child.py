"""What vLLM's engine process runs first: an order to die with the service, and where its log lines go.

The engine process does not notice that the service was killed (``kill -9``, out of memory), and would keep
the model's memory for ever. Of its log only warnings would be seen, as bare text. multiprocessing lets a
spawned process run the parent's main module again under the name ``__mp_main__``, but not one that is called
``__main__.py``; so this module stands in for it.
"""

import importlib.util
import os
import sys

from services.common.logs import configure_logging
from services.common.process import die_with_parent
from services.generator.settings import inherited_logging


def run_in_children() -> None:
    """Have processes that are spawned from now on run this module first."""
    sys.modules["__main__"].__spec__ = importlib.util.find_spec(__name__)


# multiprocessing tells a process its parent later than this; what the parent sent has just been read.
if __name__ == "__mp_main__":
    die_with_parent(os.getppid())
    configure_logging("generator", *inherited_logging())
