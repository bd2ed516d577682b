#!/usr/bin/env bash
# Feed the launcher's decoder with what it never expects, under AddressSanitizer and UBSan, for SECONDS (60).
# What breaks it is left in build/fuzz/; what it learned is kept there too, so that the next run goes on from it.
set -euo pipefail
cd "$(dirname "$0")/.."

out=build/fuzz
mkdir -p $out/learned
clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -Inative \
	tests/fuzz/plan.c native/decode.c native/print.c native/text.c -o $out/plan
.venv/bin/python tests/fuzz/seeds.py $out/seeds
seconds=${1:-60}
$out/plan -max_total_time="$seconds" -max_len=8192 -verbosity=0 -artifact_prefix=$out/ $out/learned $out/seeds
echo "nothing broke the decoder in $seconds s; $(find $out/learned -type f | wc -l) inputs learned"
