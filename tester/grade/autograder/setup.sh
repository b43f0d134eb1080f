#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image that every submission is graded in.
set -euo pipefail

SOURCE="${AUTOGRADER_ROOT:-/autograder}/source"
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get install -y --no-install-recommends bubblewrap ca-certificates

PYTHON=""
for version in 3.13 3.12 3.11; do
    if apt-get install -y --no-install-recommends "python$version" "python$version-venv"; then
        PYTHON="python$version"
        break
    fi
done
if [ -z "$PYTHON" ]; then
    echo "this image has no Python 3.11 or newer; choose a newer Ubuntu in the autograder's settings" >&2
    exit 1
fi

"$PYTHON" -m venv "$SOURCE/venv"
"$SOURCE/venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    -c "$SOURCE/raftlab/constraints.txt" -r "$SOURCE/requirements.txt"
PYTHONPATH="$SOURCE/raftlab" "$SOURCE/venv/bin/python" -m tester --help >/dev/null

chmod 600 "$SOURCE/secret"
chmod 755 "$SOURCE/run_autograder"
bwrap --ro-bind / / --unshare-all true ||
    echo "bubblewrap cannot make namespaces while this image is built; see whether it can where submissions are graded"
