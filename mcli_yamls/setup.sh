# Sourced by every job: puts `codeqa` on the path, and goes to the folder that results are kept in.
# `codeqa run` brings both. A rented machine installs the clone this lies in, and keeps results in
# /mnt/codeqa: mount a volume there, or nothing outlives the job.
CODEQA_CODE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
if ! command -v codeqa > /dev/null; then
    make -C "$CODEQA_CODE" install
    PATH="$CODEQA_CODE/.venv/bin:$PATH"
fi
CODEQA_WORK="${CODEQA_WORK:-/mnt/codeqa}"
export CODEQA_CODE CODEQA_WORK PATH
mkdir -p "$CODEQA_WORK"
cd "$CODEQA_WORK"
