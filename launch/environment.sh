# Sourced by the launch scripts: activates .venv with this package and its extras (dev, demo) in it.
# Installs when requirements.txt, pyproject.toml or the wish for extras is new to .venv, and nothing otherwise.
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $python is older than 3.11; set PYTHON to a newer one, e.g. PYTHON=python3.12 bash launch/local.sh" >&2
  exit 2
}
[[ -x .venv/bin/python ]] || "$python" -m venv .venv
# shellcheck disable=SC1091
source .venv/bin/activate
extras=${extras:-demo} # or dev,demo, which has all of demo
listed=$(cat requirements.txt pyproject.toml | cksum)
if [[ $(cat .venv/installed.txt 2>/dev/null) != "$listed "*"$extras" ]]; then
  echo "installing selftrain_jax[$extras] into .venv (a few minutes, once)"
  python -m pip install --quiet --disable-pip-version-check -e ".[$extras]"
  echo "$listed $extras" >.venv/installed.txt
fi
# On CPU: large pages, and memory that is kept from step to step. Images/s of the masks' quickstart on two cores: 88
# with large pages only, 94 with both, 73 with arena_max=1 as well, as threads then wait (Lite0 at 192 px: 19 and 6).
kept=glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:$kept:glibc.malloc.top_pad=268435456}
