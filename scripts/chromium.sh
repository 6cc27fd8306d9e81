#!/bin/sh
# Installs Debian's Chromium for `make test-browser`, unless there is a Chromium: CHROMIUM, or one on the path.
set -eu
[ -z "${CHROMIUM:-}" ] || exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends chromium >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install -y --no-install-recommends chromium >/dev/null; }
else
    echo "make test-browser needs a Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to its path" >&2
    exit 1
fi
