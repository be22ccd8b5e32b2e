#!/bin/sh
# Starts the program: SELKIE_DECRYPTOR says where it is, if it is not on the PATH.
exec "${SELKIE_DECRYPTOR:-selkie-decryptor}" helm "$@"
