"""`python -m services.analytics`"""

from services.analytics.app import SERVICE, main
from services.analytics.settings import AnalyticsSettings
from shared.service import run

if __name__ == "__main__":
    run(SERVICE, AnalyticsSettings, main)
