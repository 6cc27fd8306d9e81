"""One WebSocket, for every protocol of this library."""
