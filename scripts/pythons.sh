#!/bin/sh
# Prints "VERSION INTERPRETER" for each supported Python that is installed, on the path or by pyenv.
set -eu
for version in 3.11 3.12 3.13 3.14 3.15; do
    for python in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
        if "$python" -c "" 2>/dev/null; then
            echo "$version $python"
            break
        fi
    done
done
