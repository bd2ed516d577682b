/* --print: a plan as text, to the letter what plan.text:text writes in Python.
 *
 * The two readings of the same bytes hold each other to the table. Numbers are
 * written by hand: printf would be the largest function of the program. */
#define _GNU_SOURCE

#include "decode.h"
#include "text.h"

#include <string.h>
#include <unistd.h>

struct out {
	int fd;
	size_t used;
	char buffer[4096];
};

static void
flush(struct out *out)
{
	size_t done = 0;
	ssize_t n;

	for (; done < out->used; done += (size_t)n) {
		n = write(out->fd, out->buffer + done, out->used - done);
		if (n <= 0)
			break;
	}
	out->used = 0;
}

static void
put_char(struct out *out, char c)
{
	if (out->used == sizeof out->buffer)
		flush(out);
	out->buffer[out->used++] = c;
}

static void
put(struct out *out, const char *text)
{
	while (*text != '\0')
		put_char(out, *text++);
}

static void
put_number(struct out *out, uint64_t value, unsigned base)
{
	char digits[NUMBER_SIZE];

	put(out, number_text(digits, value, base));
}

static void
put_decimal(struct out *out, int64_t value)
{
	if (value < 0)
		put_char(out, '-');
	put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

static void
put_quoted(struct out *out, const char *text)
{
	static const char HEX[] = "0123456789abcdef";
	unsigned char c;

	put_char(out, '"');
	for (; (c = (unsigned char)*text) != '\0'; text++) {
		if (c >= 0x20 && c <= 0x7e && c != '"' && c != '\\') {
			put_char(out, (char)c);
			continue;
		}
		put(out, "\\x");
		put_char(out, HEX[c >> 4]);
		put_char(out, HEX[c & 15]);
	}
	put_char(out, '"');
}

static void
put_list(struct out *out, char *const *texts)
{
	put_char(out, '[');
	for (char *const *text = texts; *text != NULL; text++) {
		if (text != texts)
			put(out, ", ");
		put_quoted(out, *text);
	}
	put_char(out, ']');
}

static void
put_slot(struct out *out, int64_t slot)
{
	if (slot == -1) {
		put_char(out, '-');
		return;
	}
	put_char(out, '#');
	put_decimal(out, slot);
}

static void
put_value(struct out *out, enum field_type type, uint64_t raw)
{
	switch (type) {
	case FIELD_INT:
		put_decimal(out, (int64_t)raw);
		break;
	case FIELD_HEX:
		put(out, "0x");
		put_number(out, raw, 16);
		break;
	case FIELD_OCT:
		put_char(out, '0');
		put_number(out, raw, 8);
		break;
	case FIELD_SLOT:
	case FIELD_OUT:
		put_slot(out, (int64_t)raw);
		break;
	case FIELD_TEXT:
		put_quoted(out, (const char *)(uintptr_t)raw);
		break;
	case FIELD_TEXTS:
		put_list(out, (char *const *)(uintptr_t)raw);
		break;
	case FIELD_BLOB:
		put_char(out, '<');
		put_number(out, ((const struct blob *)(uintptr_t)raw)->size,
			   10);
		put(out, " bytes>");
		break;
	}
}

static void
put_step(struct out *out, uint32_t index, const struct step *step)
{
	const struct kind_info *info = &KINDS[step->kind];

	put(out, index < 10 ? "  " : index < 100 ? " " : "");
	put_number(out, index, 10);
	put(out, step->where == INSIDE ? " inside " : " host   ");
	put(out, info->name);
	for (uint32_t i = 0; i < info->nfields; i++) {
		put_char(out, ' ');
		put(out, info->fields[i].name);
		put_char(out, '=');
		put_value(out, info->fields[i].type, step->args.raw[i]);
	}
	if ((step->flags & STEP_OPTIONAL) != 0)
		put(out, " optional");
	if ((step->flags & STEP_FINAL) != 0)
		put(out, " final");
	put_char(out, '\n');
}

void
plan_print(const struct plan *plan, int fd)
{
	struct out out = { .fd = fd };

	for (uint32_t i = 0; i < plan->nsteps; i++)
		put_step(&out, i, &plan->steps[i]);
	put(&out, "undo\n");
	for (uint32_t i = 0; i < plan->nundo; i++)
		put_step(&out, i, &plan->undo[i]);
	flush(&out);
}
