#!/bin/sh
# Make a virtual environment of the locked packages: packages.sh cuda|cpu FOLDER, with the lock files beside it.
set -eu
device=$1
target=$2
here=$(cd "$(dirname "$0")" && pwd)
lock=$here/requirements.lock
[ -e "$lock" ] || lock=$here/../requirements.lock
python=${PYTHON:-python}

"$python" -m venv "$target"
install() {
    "$target/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --progress-bar off --quiet \
        --no-deps --require-hashes "$@"
}
case $device in
cuda)
    install -r "$lock"
    ;;
cpu)
    [ -e "$here/torch-cpu.lock" ] || {
        echo "docker/torch-cpu.lock is missing: docs/cluster.md, \"Images\", tells how to make it" >&2
        exit 69
    }
    wanted=$(mktemp)
    # What only serves GPUs is left out, and PyTorch is the build without them; a block begins at the line's start.
    awk '/^[A-Za-z0-9]/ { keep = !/^(cuda|nvidia|triton|torch==|torchvision==)/ } keep' "$lock" >"$wanted"
    install -r "$wanted"
    install -r "$here/torch-cpu.lock"
    rm "$wanted"
    ;;
*)
    echo "which device? cuda or cpu, not $device" >&2
    exit 64
    ;;
esac
install -r "$here/cluster.lock"
"$target/bin/python" -m pip check
