#!/usr/bin/env bash
# Tests and benchmarks on a GPU, in under nine minutes: what was measured lands as JSON in benchmarks/results/.
#
#   bash benchmarks/gpu.sh [FOLDER] [PEER]
#
# FOLDER: where the JSON goes (benchmarks/results). PEER: a clone of stylegan2-ada-pytorch. PYTHON: the interpreter
# (.venv/bin/python where there is one). Each part has a limit of its own, so that one that hangs costs no other.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
results=${1:-benchmarks/results}
peer=${2:-}
mkdir -p "$results"
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA device: $("$python" -c 'import torch; print("torch", torch.__version__)'); nothing was measured" >&2
    exit 1
fi
name=$("$python" -c 'import re, torch; print(re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-"))')
failed=0
part() { # part LIMIT NAME COMMAND...
    local limit=$1 title=$2
    shift 2
    echo "== $title"
    if ! timeout "$limit" "$@"; then
        echo "== $title: failed or ran past $limit s" >&2
        failed=1
    fi
}
part 20 doctor "$python" -m gan_lt.cli doctor
part 170 tests "$python" -m pytest -q -x -m gpu tests
part 90 operations "$python" -m benchmarks.ops --device cuda --json "$results/ops-$name.json"
part 60 "operations in bfloat16" "$python" -m benchmarks.ops --device cuda --dtype bfloat16 --json "$results/ops-bf16-$name.json"
part 110 step "$python" -m benchmarks.step --device cuda --scaling ${peer:+--peer "$peer"} --json "$results/step-$name.json"
part 60 "step in float32" "$python" -m benchmarks.step --device cuda --precision fp32 ${peer:+--peer "$peer"} \
    --json "$results/step-fp32-$name.json"
exit "$failed"
