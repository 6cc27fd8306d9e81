"""What another process needs to build a client of its own."""

from __future__ import annotations

import attrs

from ..net.retry import RetryPolicy
from ..reprs import safe_repr

__all__ = ["ClientSpec"]


@safe_repr
@attrs.frozen(kw_only=True)
class ClientSpec:
    """The address and settings of a `HumeStreamClient`, and the name of the variable with its key; never the key.

    Unlike a client it can be pickled and sent to other processes and machines. `HumeStreamClient.from_spec` builds a
    client of it there.

    Attributes:
        base_url: The server.
        key_variable: The environment variable that holds the key where the client is built; None for no key.
        timeout: As for `HumeStreamClient`, like all that follow.
        open_timeout: Seconds that connecting may take.
        close_timeout: Seconds that closing may take.
        check_after: Seconds of silence after which a connection is pinged before the next request.
        max_message_size: Bytes of the largest reply accepted.
        max_payload_size: Bytes of the largest payload sent.
        proxy: A proxy without user and password, False for none, None for that of the environment there.
        retry: The policy for retries.
        allow_plaintext: Whether the key may be sent over unencrypted ``ws://`` to another machine.
        emulated: Whether the server is one of `HumeStreamClient.emulated` that takes any key.
    """

    base_url: str
    key_variable: str | None = "HUME_API_KEY"
    timeout: float = 60.0
    open_timeout: float = 10.0
    close_timeout: float = 5.0
    check_after: float = 15.0
    max_message_size: int = 64 * 2**20
    max_payload_size: int = 64 * 2**20
    proxy: str | bool | None = None
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    allow_plaintext: bool = False
    emulated: bool = False
