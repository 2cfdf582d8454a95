#!/usr/bin/env bash
# Prints the path of a Python virtual environment that holds requirements.txt, or another file that is given; makes it first when
# there is none.
# It lives in the cache that tests/envtest uses, keyed by the requirements and Python's version. PYTHON names another python3.
set -euo pipefail
umask 022

say() { printf 'venv: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

requirements=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/requirements.txt}
python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python on PATH: install Python 3.11 or later, or set PYTHON"
command -v flock >/dev/null || fail "there is no flock on PATH: install util-linux"
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is Python $version, and the requirements need 3.11 or later: set PYTHON"

# The same rule as in tests/envtest/src/cache.rs.
if [[ -n ${AMISHARE_CACHE:-} ]]; then
  cache=$AMISHARE_CACHE
elif [[ ${XDG_CACHE_HOME:-} == /* ]]; then
  cache=$XDG_CACHE_HOME/amishare
else
  cache=${HOME:?set AMISHARE_CACHE, or HOME}/.cache/amishare
fi
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
# A virtual environment points to the interpreter that made it.
interpreter=$("$python" -c 'import sys; print(sys.base_prefix)')
key=$({ cat "$requirements"; printf '%s\n' "$version" "$interpreter"; } | sha256sum | cut -c1-16)
venv=$cache/venv-$key
marker=$venv/.complete

if [[ ! -e $marker ]]; then
  # Children inherit the lock, and rightly so: a pip that outlives a killed script still writes.
  exec {lock}>"$cache/venv.lock"
  flock "$lock"
fi
if [[ ! -e $marker ]]; then
  say "installing the Python tools of the tests, once, into $venv (about a minute)"
  rm -rf "$venv"
  log=$cache/venv-$key.log
  if ! "$python" -m venv "$venv" >"$log" 2>&1; then
    # Debian ships the venv module without ensurepip, in a package of its own.
    rm -rf "$venv"
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
      say "python3-venv is missing: apt-get installs it"
      { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } \
        >>"$log" 2>&1 </dev/null || true
    fi
    "$python" -m venv "$venv" >>"$log" 2>&1 || "$python" -m virtualenv "$venv" >>"$log" 2>&1 || {
      tail -n 15 "$log" >&2
      rm -rf "$venv"
      fail "no virtual environment could be made: apt-get install python3-venv (or python3 -m pip install virtualenv)"
    }
  fi
  if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --requirement "$requirements" \
    >>"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    fail "pip could not install $requirements: it needs PyPI, or PIP_INDEX_URL; the whole log is $log"
  fi
  rm -f "$log"
  # Last, so that an interrupted installation is made again.
  touch "$marker"
fi
printf '%s\n' "$venv"
