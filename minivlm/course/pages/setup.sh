#!/usr/bin/env bash
# Run once by Gradescope, when the autograder is built.
set -euo pipefail
command -v python3 >/dev/null || { apt-get update && apt-get install -y python3 python3-venv; }
python3 -m venv /opt/minivlm || { apt-get update && apt-get install -y python3-venv && python3 -m venv /opt/minivlm; }
/opt/minivlm/bin/pip install --no-cache-dir -r /autograder/source/requirements.txt
