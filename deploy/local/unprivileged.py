"""PostgreSQL refuses to run as root; these functions run it as `nobody` where we are root.

Nothing outside the data folder changes its owner or mode. The data folder is the working folder of the
server, named as /proc/self/cwd, so that it needs no right to pass through the folders above it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import StackError

CAP_DAC_OVERRIDE = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, kw_only=True)
class ServerUser:
    """Whom the server runs as: the user and group to switch to, or a function that switches by itself."""

    uid: int
    gid: int
    drop: Callable[[], None] | None

    @property
    def uid_gid(self) -> tuple[int, int] | None:
        return None if self.drop is not None else (self.uid, self.gid)


def server_user(binary: Path) -> ServerUser | None:
    """None where the caller is an ordinary user and the server can run as the same."""
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        raise StackError("PostgreSQL does not run as root; start the stack as an ordinary user.")
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    drop = None if _others_can_run(binary) else _keep_reach(uid, gid)
    return ServerUser(uid=uid, gid=gid, drop=drop)


def _others_can_run(binary: Path) -> bool:
    resolved = binary.resolve()
    folders_open = all(parent.stat().st_mode & 0o001 for parent in resolved.parents)
    return folders_open and resolved.stat().st_mode & 0o005 == 0o005


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _keep_reach(uid: int, gid: int) -> Callable[[], None]:
    """A switch to `uid` that keeps the one capability needed to reach programs below a closed folder.

    An environment under /root is the usual case. See capabilities(7) on the ambient set.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), "keeping CAP_DAC_OVERRIDE for PostgreSQL")

    def drop() -> None:
        # Without this bit access(2), which PostgreSQL asks about its own programs, leaves capabilities out.
        must(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        mask = 1 << CAP_DAC_OVERRIDE
        header = _Header(LINUX_CAPABILITY_VERSION_3, 0)
        data = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
        must(libc.capset(ctypes.byref(header), ctypes.byref(data)))
        must(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))

    return drop
