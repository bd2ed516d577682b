/* The decoder: bytes that somebody else wrote become steps, or are refused.
 *
 * Everything is checked before anything is done, so no handler has to ask
 * whether a text ends, a slot exists or a list is as long as it says. Fuzzed
 * by fuzz_decode.c. */
#define _GNU_SOURCE
#define STEPS_TABLE

#include "decode.h"

#include <string.h>
#include <sys/mman.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "numbers of the plan are read as they lie");

#define HEADER_SIZE 32
#define RECORD_HEAD 8

/* What is left to read of the plan, or of one record. */
struct reader {
	const unsigned char *at;
	const unsigned char *end;
	const char **pointers;	/* the arena's free space, for texts */
};

struct header {
	char magic[4];
	uint32_t version, size, nsteps, nundo, flags, inherited, zero;
};
_Static_assert(sizeof(struct header) == HEADER_SIZE, "header");

struct record {
	uint16_t kind;
	uint8_t where;
	uint8_t flags;
	uint32_t size;
};
_Static_assert(sizeof(struct record) == RECORD_HEAD, "record");

/* What has been seen of the steps so far: the rules about their order. */
struct order {
	bool undo;
	bool cloned;
	bool executed;
	bool ended;
	unsigned sent;		/* descriptors on their way to the host */
	unsigned received;
};

static size_t
left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

static bool
take(struct reader *r, void *to, size_t size)
{
	if (left(r) < size)
		return false;
	memcpy(to, r->at, size);
	r->at += size;
	return true;
}

/* `size` bytes and the zeros that fill them up to a multiple of 8, counted
 * together with the `before` bytes of the field that are already taken. */
static const unsigned char *
take_padded(struct reader *r, size_t before, size_t size)
{
	const unsigned char *bytes = r->at;
	size_t padding;

	if (size > left(r))	/* first, so that nothing below overflows */
		return NULL;
	padding = (8 - (before + size) % 8) % 8;
	if (padding > left(r) - size)
		return NULL;
	for (size_t i = 0; i < padding; i++)
		if (bytes[size + i] != 0)
			return NULL;
	r->at += size + padding;
	return bytes;
}

static bool
take_text(struct reader *r, const char **text)
{
	const unsigned char *bytes;
	uint32_t length;

	if (!take(r, &length, sizeof length) || length >= left(r))
		return false;
	bytes = take_padded(r, sizeof length, (size_t)length + 1);
	if (bytes == NULL || memchr(bytes, 0, (size_t)length + 1) !=
	    bytes + length)
		return false;
	*text = (const char *)bytes;
	return true;
}

/* A list ends in a NULL pointer, as execve(2) wants it. */
static bool
take_texts(struct reader *r, char *const **texts)
{
	const unsigned char *bytes, *end;
	uint32_t length, count;

	if (!take(r, &length, sizeof length) || !take(r, &count, sizeof count))
		return false;
	bytes = take_padded(r, 0, length);
	if (bytes == NULL || (length > 0 && bytes[length - 1] != 0))
		return false;
	*texts = (char *const *)r->pointers;
	for (end = bytes + length; bytes < end; count--) {
		if (count == 0)
			return false;
		*r->pointers++ = (const char *)bytes;
		bytes += strlen((const char *)bytes) + 1;
	}
	*r->pointers++ = NULL;
	return count == 0;
}

static bool
take_blob(struct reader *r, const struct blob **blob)
{
	const unsigned char *start = r->at;
	uint32_t size;

	if (!take(r, &size, sizeof size) ||
	    take_padded(r, sizeof size, size) == NULL)
		return false;
	/* Records and fields begin at multiples of 8: aligned for it. */
	*blob = (const struct blob *)(const void *)start;
	return true;
}

static bool
slot_is_valid(enum field_type type, int64_t slot, bool undo)
{
	if (undo)	/* it runs long after the slots are gone */
		return type == FIELD_SLOT && slot == -1;
	return slot >= (type == FIELD_OUT ? 0 : -1) && slot < MAX_SLOTS;
}

static bool
take_field(struct reader *r, enum field_type type, bool undo, uint64_t *raw)
{
	const struct blob *blob;
	char *const *texts;
	const char *text;

	switch (type) {
	case FIELD_INT:
	case FIELD_HEX:
	case FIELD_OCT:
		return take(r, raw, sizeof *raw);
	case FIELD_SLOT:
	case FIELD_OUT:
		return take(r, raw, sizeof *raw) &&
		       slot_is_valid(type, (int64_t)*raw, undo);
	case FIELD_TEXT:
		if (!take_text(r, &text))
			return false;
		*raw = (uintptr_t)text;
		return true;
	case FIELD_TEXTS:
		if (!take_texts(r, &texts))
			return false;
		*raw = (uintptr_t)texts;
		return true;
	case FIELD_BLOB:
		if (!take_blob(r, &blob))
			return false;
		*raw = (uintptr_t)blob;
		return true;
	}
	return false;
}

/* The kinds that decide who runs: without one of them, those behind it make no
 * sense. */
static bool
is_turning_point(uint16_t kind)
{
	return kind == KIND_DETACH || kind == KIND_CLONE || kind == KIND_EXEC ||
	       kind == KIND_MONITOR || kind == KIND_MONITOR_OF_OLD ||
	       kind == KIND_WAIT;
}

/* Whether a step may stand here. What is certain from here on, no handler has
 * to check; a rule that only a senseless plan breaks is left to the kernel. */
static bool
check_order(struct order *seen, const struct step *step)
{
	bool inside = step->where == INSIDE;
	bool optional = (step->flags & STEP_OPTIONAL) != 0;
	bool final = (step->flags & STEP_FINAL) != 0;

	if (seen->undo)
		return !inside && !is_turning_point(step->kind);
	if (final || seen->ended || (optional && is_turning_point(step->kind)))
		return false;
	if (inside && (!seen->cloned || seen->executed))
		return false;
	switch (step->kind) {
	case KIND_DETACH:
		return !inside && !seen->cloned;
	case KIND_CLONE:
		if (inside || seen->cloned)
			return false;
		seen->cloned = true;
		return true;
	case KIND_SEND_FD:
		return inside && seen->sent++ < MAX_SLOTS;
	case KIND_RECV_FD:
		return !inside && seen->received++ < seen->sent;
	case KIND_EXEC:
		seen->executed = true;
		return inside;
	case KIND_MONITOR:
	case KIND_MONITOR_OF_OLD:
	case KIND_WAIT:
		seen->ended = true;
		return !inside && seen->executed;
	default:
		return true;
	}
}

static bool
take_step(struct reader *plan, struct order *seen, struct step *step)
{
	struct reader r = *plan;
	const struct kind_info *info;
	struct record record;

	if (!take(&r, &record, sizeof record) || record.size % 8 != 0 ||
	    record.size < RECORD_HEAD || record.size > left(plan) ||
	    record.kind >= KIND_LIMIT || record.where > INSIDE ||
	    (record.flags & ~(STEP_OPTIONAL | STEP_FINAL)) != 0)
		return false;
	r.end = plan->at + record.size;
	info = &KINDS[record.kind];
	if (info->name == NULL)
		return false;
	step->kind = record.kind;
	step->where = record.where;
	step->flags = record.flags;
	for (uint32_t i = 0; i < info->nfields; i++)
		if (!take_field(&r, info->fields[i].type, seen->undo,
				&step->args.raw[i]))
			return false;
	if (r.at != r.end || !check_order(seen, step))
		return false;
	plan->at = r.at;
	plan->pointers = r.pointers;
	return true;
}

/* One mapping holds the steps and the pointers of their lists. Its size is
 * an upper bound that needs no first pass: a record has at least 8 bytes, and
 * a list's pointers, with the NULL, are fewer than its bytes. Pages that are
 * never touched cost nothing. */
static struct step *
make_arena(struct plan *plan, size_t size)
{
	size_t records = (size_t)plan->nsteps + plan->nundo;

	plan->arena_size = records * sizeof(struct step) +
			   size * sizeof(char *);
	plan->arena = mmap(NULL, plan->arena_size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (plan->arena == MAP_FAILED) {
		plan->arena = NULL;
		return NULL;
	}
	return plan->arena;
}

static bool
take_header(struct reader *r, size_t size, struct plan *plan)
{
	struct header header;
	uint64_t records;

	if (!take(r, &header, sizeof header))
		return false;
	records = (uint64_t)header.nsteps + header.nundo;
	plan->nsteps = header.nsteps;
	plan->nundo = header.nundo;
	plan->verbose = header.flags == 1;
	plan->inherited = header.inherited;
	return memcmp(header.magic, "CLPN", 4) == 0 && header.version == 1 &&
	       header.size == size && size <= PLAN_MAX && header.flags <= 1 &&
	       header.zero == 0 && header.inherited <= MAX_SLOTS &&
	       records <= (size - HEADER_SIZE) / RECORD_HEAD;
}

bool
plan_decode(const unsigned char *bytes, size_t size, struct plan *plan,
	    size_t *bad)
{
	struct reader r = { .at = bytes, .end = bytes + size };
	struct order seen = { 0 };
	struct step *step;
	size_t records;

	memset(plan, 0, sizeof *plan);
	*bad = 0;
	if (!take_header(&r, size, plan))
		return false;
	step = make_arena(plan, size);
	if (step == NULL)
		return false;
	records = (size_t)plan->nsteps + plan->nundo;
	r.pointers = (const char **)(void *)(step + records);
	plan->steps = step;
	plan->undo = step + plan->nsteps;
	for (; records > 0; records--, step++) {
		if (step == plan->undo)
			seen = (struct order){ .undo = true };
		if (!take_step(&r, &seen, step))
			goto refused;
	}
	if (r.at == r.end)
		return true;
refused:
	*bad = (size_t)(r.at - bytes);
	plan_free(plan);
	return false;
}

void
plan_free(struct plan *plan)
{
	if (plan->arena != NULL)
		munmap(plan->arena, plan->arena_size);
	plan->arena = NULL;
}
