"""`python -m deploy.nats` prints the users of a cluster's servers, to be included in their configuration."""

import sys

from deploy.nats.config import authorization

HEAD = """\
# Users of Lekhika and what each may do; written from deploy/nats/permissions.py by `make nats`.
# Include it in the configuration of every server of the cluster, and give the passwords in its environment.
"""


def text() -> str:
    return HEAD + authorization()


if __name__ == "__main__":
    sys.stdout.write(text())
