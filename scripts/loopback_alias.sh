#!/bin/sh
# Usage: loopback_alias.sh
# WebRTC does not use 127.0.0.1, so it cannot connect on a machine without any other address. On such a machine, this
# adds a second address to the loopback interface, 10.99.0.1, which is not reachable from outside. Prints what it did;
# fails if WebRTC cannot work. To undo it: ip address del 10.99.0.1/32 dev lo
set -eu
alias=10.99.0.1/32

# "2: eth0    inet 192.0.2.2/24 ...": with a scope wider than the link
others() {
    ip -oneline address show scope global | awk '{ print $4 }'
}

if ! command -v ip >/dev/null; then
    echo "loopback_alias: the command ip (iproute2) is missing" >&2
    exit 1
fi
if [ -n "$(others)" ]; then
    echo "loopback_alias: nothing to do, WebRTC can use" $(others)
elif ip link set lo up && ip address add "$alias" dev lo scope global; then
    echo "loopback_alias: added $alias to lo"
else
    echo "loopback_alias: there is only a loopback address, and adding $alias is not permitted" >&2
    exit 1
fi
