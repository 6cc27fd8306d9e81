#!/bin/sh
# Usage: install.sh PYTHON VENV REQUIREMENTS...
# Creates a virtual environment and installs into it. Debian ships venv without ensurepip unless python3-venv is
# installed; then the environment is created without pip, and the system's pip installs into it.
set -eu
python=$1 venv=$2
shift 2
export PIP_DISABLE_PIP_VERSION_CHECK=1
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" 2>/dev/null || {
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
}
echo "installing into $venv: $*"
if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # the requirements are words
    "$venv/bin/python" -m pip install --quiet $*
else
    # shellcheck disable=SC2086
    "$python" -m pip --python "$venv/bin/python" install --quiet $*
fi
