"""`python -m services.analytics`"""

import gc

from services.analytics.app import COLLECT_AFTER, SERVICE, main
from services.analytics.settings import AnalyticsSettings
from shared.service import run

if __name__ == "__main__":
    gc.set_threshold(COLLECT_AFTER)  # not in `main`, which tests run in a process that is theirs
    run(SERVICE, AnalyticsSettings, main)
