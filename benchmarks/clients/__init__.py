"""One module a client: how its user would send the cases. Each runs in that client's environment."""
