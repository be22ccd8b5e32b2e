#!/usr/bin/env bash
# Draws the pictures of the README from what the programs print. A test tells when that is due.
# usage: docs/pictures/make.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SELKIE_WRITE_PICTURES=1 cargo test --locked --package selkie-decryptor --test main -- documentation::picture
