#!/usr/bin/env bash
# The fast tests on old and new stacks, each in an environment of its own below FOLDER:
#   tools/misc/test_stacks.sh FOLDER [STACK...] [-- PYTEST ARGUMENTS]
# Interpreters are taken from PATH (python3.9, ...) or from pyenv. An environment that is there is used as it is.
set -uo pipefail
cd "$(dirname "$0")/../.."
declare -A STACKS=(
    [py39-torch2.0]='3.9 torch==2.0.1 numpy==1.26.4 opencv-python<4.11'
    [py310-torch2.1]='3.10 torch==2.1.2 numpy==1.26.4 opencv-python<4.11'
    [py312]='3.12 torch numpy>=2'
    [py313]='3.13 torch numpy>=2')
folder=${1:?usage: tools/misc/test_stacks.sh FOLDER [STACK...] [-- PYTEST ARGUMENTS]}
shift
names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do names+=("$1"); shift; done
[ $# -gt 0 ] && shift
[ ${#names[@]} -gt 0 ] || names=(py39-torch2.0 py310-torch2.1 py312 py313)

build() {  # name, Python version, pins
    local name=$1 version=$2 python
    shift 2
    for python in "python$version" ~/.pyenv/versions/"$version".*/bin/python ''; do
        "$python" -c '' 2>/dev/null && break  # the shim of a version that is not active is there and fails
    done
    [ -n "$python" ] || { echo "no python$version on PATH or in pyenv"; return 1; }
    "$python" -m venv "$folder/$name" || return 1
    local pip="$folder/$name/bin/python -m pip install -q"
    # one call: the pins hold for what the requirements pull in
    $pip -U 'setuptools<82' wheel && $pip --no-build-isolation "$@" -r requirements/runtime.txt \
        -r requirements/light.txt -r requirements/lite.txt -r requirements/tests.txt && touch "$folder/$name/built"
}

failed=0
for name in "${names[@]}"; do
    read -ra stack <<< "${STACKS[$name]:?no stack $name}"
    [ -e "$folder/$name/built" ] || build "$name" "${stack[@]}" || { echo "$name: no environment"; failed=1; continue; }
    echo "== $name"
    PYTHONPATH=$PWD "$folder/$name/bin/python" tools/misc/check_env.py || failed=1
    PYTHONPATH=$PWD "$folder/$name/bin/python" -m pytest -q -m 'not slow' -p no:cacheprovider "$@" tests || failed=1
done
exit $failed
