"""The context of a run: its options, its server and its workers."""

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
    """A run of the benchmarks.

    Attributes:
        rounds: How often each measurement is repeated.
        quick: Whether to run little of everything; the figures then mean nothing.
        connects: How many TLS connections to make in a row.
        directory: The directory of its temporary files.
    """

    rounds: int
    quick: bool
    connects: int
    directory: Path

    def few(self, count: int) -> int:
        """Return the count, or a tenth of it in a quick run."""
        return max(2, count // 10) if self.quick else count

    @property
    def authority(self) -> Path:
        """Return the file of the server's certificate authority."""
        return self.directory / "authority.pem"

    @property
    def authorities(self) -> Path:
        """Return the file of the system's certificate authorities and the server's."""
        return self.directory / "authorities.pem"

    @property
    def core(self) -> int:
        """Return the core that client and server share in measurements where one always waits for the other.

        With two cores, the kernel wakes a process on its own core or on the other at random. On virtual machines, the
        latter takes longer than the work to be measured.
        """
        return max(os.sched_getaffinity(0))

    def server(self, processes: int, *, tls: bool = False, core: int | None = None) -> Server:
        """Start a server.

        Args:
            processes: How many connections it can serve at the same time.
            tls: Whether to serve TLS.
            core: The core to run on; None for any.
        """
        return Server(processes, self._certificate() if tls else None, core)

    @contextlib.contextmanager
    def workers(
        self, names: Sequence[str], trusted: Path | None = None, core: int | None = None
    ) -> Iterator[dict[str, Worker]]:
        """Start a worker for each client, for the length of a ``with`` block.

        Args:
            names: The names of the clients.
            trusted: The file of the trusted certificate authorities, for a server with TLS.
            core: The core to run on; None for any.

        Yields:
            The workers by the name of their client.
        """
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(Worker(name, self.directory, trusted, core)) for name in names}

    def _certificate(self) -> tuple[Path, Path]:
        """Return the files of a certificate for this machine and of its key."""
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
    """Make the context of a run, whose temporary files are deleted afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        yield Bench(rounds, quick, connects, Path(directory))
