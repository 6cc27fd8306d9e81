"""What a client knows of its server, and hands to its sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..errors import ConfigurationError, HumeClientException
from ..net.deadline import Deadline
from ..net.pending import Watch
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .app_http import AppClient, StreamingResponse
from .hooks import latest, open_events, post_input, translated
from .opening import Opening
from .outputs import OutputStream
from .places import Places
from .request import require_urllib3
from .route import TELEPHONE_RATE

__all__ = ["AppConfig", "Shape"]

Shape = Callable[[str, Mapping[str, Any]], Any]
"""Makes the JSON that a hook expects, of a connection's id and the fields."""


def _places(server: AppConfig) -> Places:
    return Places(server.http)


@safe_repr
@attrs.frozen
class AppConfig:
    """One handler, and the application's URLs around it."""

    http: AppClient = attrs.field(repr=False)
    input_hook: str | None = attrs.field(repr=False)
    outputs_url: str | None = attrs.field(repr=False)
    latest_url: str | None = attrs.field(repr=False)
    shape: Shape | None
    input_sample_rate: int
    output_sample_rate: int
    timeout: float
    max_output_size: int = 16 * 2**20
    is_telephone: bool = False
    """Whether connections are made as by telephone: servers have neither inputs nor outputs for those."""
    places: Places = attrs.field(init=False, repr=False, default=attrs.Factory(_places, takes_self=True))

    def by_telephone(self) -> AppConfig:
        """Return the same server as a telephone knows it."""
        rate = TELEPHONE_RATE
        return attrs.evolve(self, is_telephone=True, input_sample_rate=rate, output_sample_rate=rate)

    def _named(self, argument: str, url: str | None) -> str:
        if self.is_telephone:
            raise ConfigurationError(f"{argument} cannot be used by telephone: servers keep inputs and outputs from it")
        if url is None:
            raise ConfigurationError(f"the client was made without {argument}: name the application's URL")
        return url

    @hides_locals
    def post_input(self, webrtc_id: str, fields: Mapping[str, Any], deadline: Deadline, watch: Watch) -> None:
        """Give the handler of a connection additional inputs."""
        url = self._named("input_hook", self.input_hook)

        def post(place: str) -> None:
            post_input(self.http, place, webrtc_id, fields, self.shape, deadline, watch=watch)

        self.places.ask("input_hook", url, post)

    @hides_locals
    def outputs(self, webrtc_id: str, ended_by: Callable[[], HumeClientException | None]) -> OutputStream:
        """Make the stream of a connection's additional outputs; it is opened when it is read.

        Args:
            webrtc_id: of the connection.
            ended_by: what has ended the connection; None while it lives.
        """
        url = self._named("outputs", self.outputs_url)
        require_urllib3()

        @hides_locals
        def opened(watch: Watch) -> StreamingResponse:
            def opened_at(place: str) -> StreamingResponse:
                return open_events(self.http, place, webrtc_id, self.timeout, watch=watch)

            return translated("outputs", lambda: self.places.ask("outputs", url, opened_at))

        return OutputStream(Opening(opened), max_size=self.max_output_size, ended_by=ended_by)

    @hides_locals
    def latest(self, webrtc_id: str, deadline: Deadline, watch: Watch) -> Any:
        """Ask for one additional output."""
        url = self._named("latest", self.latest_url)

        def latest_at(place: str) -> Any:
            return latest(self.http, place, webrtc_id, deadline, self.max_output_size, watch=watch)

        return self.places.ask("latest", url, latest_at)
