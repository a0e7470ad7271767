"""Runs the executor: `python -m services.executor`."""

from services.executor.app import main
from services.executor.settings import ExecutorSettings
from shared.service import run

if __name__ == "__main__":
    run("executor", ExecutorSettings, main)
