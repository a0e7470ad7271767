"""What every service does at its start."""

import subprocess
import sys

PROBE = """
import gc, time
import services.gateway.app
from shared.service import spare_the_collector

def collection():
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began

before = min(collection() for _ in range(3))
spare_the_collector()
assert min(collection() for _ in range(3)) < before / 10
"""


def test_a_full_collection_does_not_look_at_what_was_loaded_at_the_start() -> None:
    """It would stop every stop, stream and answer of the process for a tenth of a second."""
    subprocess.run([sys.executable, "-c", PROBE], check=True, timeout=60)
