# shellcheck shell=bash disable=SC2034
# What a release is made with. A change here changes the bytes of what is released.

# The compiler, as rustup names it.
rust_toolchain=1.95.0

# Compiles what is C for every target. The hashes are in zig.txt.
zig_version=0.15.1
