"""What every family is given: how thorough to be, the server, and workers."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from .processes import Server, Worker

__all__ = ["Bench", "bench"]


@attrs.frozen
class Bench:
    """One run."""

    rounds: int
    quick: bool
    """Little of everything, to see that it works; the figures are worth nothing."""
    connects: int
    directory: Path

    def few(self, count: int) -> int:
        """That many; or a tenth of it, in a quick run."""
        return max(2, count // 10) if self.quick else count

    @property
    def authority(self) -> Path:
        """The server's certificate authority."""
        return self.directory / "authority.pem"

    @property
    def authorities(self) -> Path:
        """The system's certificate authorities, and the server's."""
        return self.directory / "authorities.pem"

    @property
    def core(self) -> int:
        """The core that client and server share where one of them always waits for the other.

        On two cores it is chance whether the kernel wakes a process on its own core or on the other; on virtual
        machines the latter takes longer than all that is to be measured.
        """
        return max(os.sched_getaffinity(0))

    def server(self, processes: int, *, tls: bool = False, core: int | None = None) -> Server:
        """A server of this run."""
        return Server(processes, self._certificate() if tls else None, core)

    @contextlib.contextmanager
    def workers(
        self, names: Sequence[str], trusted: Path | None = None, core: int | None = None
    ) -> Iterator[dict[str, Worker]]:
        """A worker for each of these clients. They live as long as the ``with`` block; one at a time is at work.

        Args:
            names: of the clients.
            trusted: the certificate authorities, where the server has a certificate.
            core: the one they run on; None: any.
        """
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(Worker(name, self.directory, trusted, core)) for name in names}

    def _certificate(self) -> tuple[Path, Path]:
        """A certificate for this machine, and files of those who say so."""
        import trustme  # noqa: PLC0415 - an extra

        cert, key = self.directory / "cert.pem", self.directory / "key.pem"
        if not cert.exists():
            authority = trustme.CA()
            issued = authority.issue_cert("127.0.0.1")
            issued.private_key_pem.write_to_path(key)
            cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
            system = ssl.get_default_verify_paths().cafile
            known = Path(system).read_bytes() if system else b""
            self.authority.write_bytes(authority.cert_pem.bytes())
            self.authorities.write_bytes(known + b"\n" + authority.cert_pem.bytes())
        return cert, key


@contextlib.contextmanager
def bench(*, rounds: int, quick: bool, connects: int) -> Iterator[Bench]:
    """A run, and its files, which are gone after it."""
    with tempfile.TemporaryDirectory() as directory:
        yield Bench(rounds, quick, connects, Path(directory))
