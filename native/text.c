#define _GNU_SOURCE

#include "text.h"

#include <errno.h>
#include <string.h>

const char *
number_text(char buffer[NUMBER_SIZE], uint64_t value, unsigned base)
{
	char *at = buffer + NUMBER_SIZE;

	*--at = '\0';
	do {
		*--at = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	return at;
}

int
text_number(const char *text, uint32_t *value)
{
	uint64_t sum = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		sum = sum * 10 + (uint64_t)(*text - '0');
		if (sum > UINT32_MAX)
			return -EINVAL;
	}
	*value = (uint32_t)sum;
	return 0;
}

int
text_join(char *to, size_t size, const char *const *parts)
{
	size_t length;

	for (; *parts != NULL; parts++) {
		length = strlen(*parts);
		if (length >= size)
			return -ENAMETOOLONG;
		memcpy(to, *parts, length);
		to += length;
		size -= length;
	}
	*to = '\0';
	return 0;
}
