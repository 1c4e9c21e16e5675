#!/usr/bin/env bash
# The README's first command: set up .venv beside this checkout, evaluate a small real model on the
# bundled questions and print the table. No account, one download of 93 MB after the packages.
set -euo pipefail
cd "$(dirname "$0")/.."
make setup
exec .venv/bin/proteinlm quickstart "$@"
