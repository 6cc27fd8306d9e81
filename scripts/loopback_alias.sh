#!/bin/sh
# Usage: loopback_alias.sh
# WebRTC leaves 127.0.0.1 out: on a machine without any other address no connection comes about. There this gives the
# loopback interface a second one, 10.99.0.1, which nothing outside can reach. Says what it did; fails where WebRTC
# cannot work afterwards. Takes it away again: ip address del 10.99.0.1/32 dev lo
set -eu
alias=10.99.0.1/32

# "2: eth0    inet 192.0.2.2/24 ...": of this machine or of a network, not of one link
others() {
    ip -oneline address show scope global | awk '{ print $4 }'
}

if ! command -v ip >/dev/null; then
    echo "loopback_alias: no command ip (iproute2) to look at the addresses with" >&2
    exit 1
fi
if [ -n "$(others)" ]; then
    echo "loopback_alias: nothing to do, WebRTC can use" $(others)
elif ip link set lo up && ip address add "$alias" dev lo scope global; then
    echo "loopback_alias: added $alias to lo"
else
    echo "loopback_alias: there is no address but loopback's, and adding $alias is not permitted" >&2
    exit 1
fi
