#!/usr/bin/env bash
# Feed the launcher's decoder with what it never expects, under AddressSanitizer and UBSan, for SECONDS (60); then the
# unpacker of archives, as root, led by atheris where that can be had for this Python, else by chance.
# What breaks them is left in build/fuzz/; what was learned is kept there too, so that the next run goes on from it.
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

if [ "$(id -u)" != 0 ]; then
	echo "the unpacker is fuzzed by root alone, as it makes files of others"
	exit
fi
target=$PWD/$out/packages
[ -d "$target/atheris" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$target" atheris || true
export PYTHONPATH=$PWD:$target
mkdir -p $out/archives
if [ -d "$target/atheris" ]; then
	.venv/bin/python tests/fuzz/archives.py -max_total_time="$seconds" -max_len=16384 -verbosity=0 \
		-artifact_prefix="$PWD/$out/" "$PWD/$out/archives"
else
	.venv/bin/python -c "import sys; from tests.fuzz.archives import by_chance; print(by_chance(float(sys.argv[1]), 0))" "$seconds"
fi
echo "nothing broke the unpacker in $seconds s"
