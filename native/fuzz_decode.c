/* Fuzzing the decoder: whatever the bytes are, they are refused or they are a
 * plan that can be printed, every text and list of which ends where it says.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -o fuzz_decode \
 *		fuzz_decode.c decode.c print.c text.c
 *	./fuzz_decode corpus
 *
 * The seeds in corpus/ are written by make_corpus.py. */
#define _GNU_SOURCE

#include "decode.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_plan(const unsigned char *bytes, size_t size)
{
	static int sink = -1;
	struct plan plan;
	size_t bad;

	if (sink < 0)
		sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (plan_decode(bytes, size, &plan, &bad)) {
		plan_print(&plan, sink);
		plan_free(&plan);
	} else if (bad > size) {
		abort();
	}
}

/* As it is; and once more with a header that fits, as no fuzzer finds the size
 * of the whole by chance. A copy of its own ends where the plan ends, so that
 * one byte too far is noticed, and is aligned as in plan_load. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t whole = (uint32_t)size;
	unsigned char *bytes = malloc(size > 0 ? size : 1);

	if (bytes == NULL)
		return 0;
	memcpy(bytes, data, size);
	try_plan(bytes, size);
	if (size >= 32) {
		memcpy(bytes, "CLPN\1\0\0", 8);
		memcpy(bytes + 8, &whole, sizeof whole);
		memset(bytes + 28, 0, 4);
		try_plan(bytes, size);
	}
	free(bytes);
	return 0;
}
