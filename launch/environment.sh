# Sourced by the launch scripts: activates .venv, which is made and filled when requirements.txt is new to it.
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $python is older than 3.11; set PYTHON to a newer one, e.g. PYTHON=python3.12 bash launch/local.sh" >&2
  exit 2
}
[[ -x .venv/bin/python ]] || "$python" -m venv .venv
# shellcheck disable=SC1091
source .venv/bin/activate
if ! cmp -s requirements.txt .venv/installed.txt; then
  echo "installing requirements.txt into .venv (a few minutes, once)"
  python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/installed.txt
fi
# On CPU: large pages, and memory kept from step to step. Two cores, images/s: the masks' quickstart 88 with large
# pages alone, 94 so; 73 with arena_max=1 besides, which makes threads wait for each other (Lite0 at 192 px: 19, and 6 with it).
kept=glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:$kept:glibc.malloc.top_pad=268435456}
