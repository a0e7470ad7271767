"""What is stored of a secret that was drawn at random. What people choose needs more: `passwords`."""

import hashlib


def digest(secret: str) -> bytes:
    """Of a key or of a session's cookie: SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()
