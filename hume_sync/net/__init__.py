"""Transport: sockets, TLS, proxies, HTTP/1.1, WebSocket, deadlines and retries."""
