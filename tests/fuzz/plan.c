/* Any bytes, given to the launcher's decoder as a plan.
 *
 * What it accepts is printed too, so that every text and list it points to is
 * read. Before that, the header's size is made to agree: else nearly every
 * mutation would end at the first check. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

#define SIZE_OFFSET 8	/* in the header, see decode.h */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int sink = -1;
	uint32_t said = (uint32_t)size;
	unsigned char *bytes;
	struct plan plan;
	size_t bad;

	if (sink < 0)
		sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* On the heap, exactly as long as it is: reading past it is seen. */
	bytes = malloc(size ? size : 1);
	if (bytes == NULL)
		return 0;
	memcpy(bytes, data, size);
	if (size >= SIZE_OFFSET + sizeof said)
		memcpy(bytes + SIZE_OFFSET, &said, sizeof said);
	if (plan_decode(bytes, size, &plan, &bad)) {
		plan_print(&plan, sink);
		plan_free(&plan);
	}
	free(bytes);
	return 0;
}
