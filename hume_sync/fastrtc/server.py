"""What a client knows of its server, and hands to its sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..errors import ConfigurationError
from ..net.deadline import Deadline
from ..net.pending import Watch
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .http import Http
from .outputs import OutputStream, latest, post_input

__all__ = ["Server", "Shape"]

Shape = Callable[[str, Mapping[str, Any]], Any]
"""Makes the JSON that a hook expects, of a connection's id and the fields."""


@safe_repr
@attrs.frozen
class Server:
    """One handler, and the application's URLs around it."""

    http: Http = attrs.field(repr=False)
    input_hook: str | None = attrs.field(repr=False)
    outputs_url: str | None = attrs.field(repr=False)
    latest_url: str | None = attrs.field(repr=False)
    shape: Shape | None
    input_sample_rate: int
    output_sample_rate: int
    timeout: float

    @hides_locals
    def post_input(self, webrtc_id: str, fields: Mapping[str, Any], deadline: Deadline, watch: Watch) -> None:
        """Give the handler of a connection additional inputs."""
        url = _named("input_hook", self.input_hook)
        post_input(self.http, url, webrtc_id, fields, self.shape, deadline, watch=watch)

    @hides_locals
    def outputs(self, webrtc_id: str, deadline: Deadline, watch: Watch, *, is_over: Callable[[], bool]) -> OutputStream:
        """Open the stream of a connection's additional outputs; ``is_over``: whether the connection has ended."""
        url = _named("outputs", self.outputs_url)
        return OutputStream(self.http, url, webrtc_id, deadline, watch=watch, is_over=is_over)

    @hides_locals
    def latest(self, webrtc_id: str, deadline: Deadline, watch: Watch) -> Any:
        """Ask for one additional output."""
        return latest(self.http, _named("latest", self.latest_url), webrtc_id, deadline, watch=watch)


def _named(argument: str, url: str | None) -> str:
    if url is None:
        raise ConfigurationError(f"the client was made without {argument}: name the application's URL")
    return url
