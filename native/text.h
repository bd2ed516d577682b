/* Small texts without stdio: numbers and joined paths. Usable after clone. */
#ifndef CLOISON_TEXT_H
#define CLOISON_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define NUMBER_SIZE 24	/* 2^64 in octal has 22 digits */

/* The digits of `value`, which lie at the end of `buffer`. */
const char *number_text(char buffer[NUMBER_SIZE], uint64_t value,
			unsigned base);

/* Read all of `text` as a decimal number below 2^32; 0 or -EINVAL. */
int text_number(const char *text, uint32_t *value);

/* Join texts into the array `to`: 0, or -ENAMETOOLONG. */
#define JOIN(to, ...) \
	text_join(to, sizeof(to), (const char *const[]){ __VA_ARGS__, NULL })
int text_join(char *to, size_t size, const char *const *parts);

#endif
