/* A plan, decoded: the steps as the handlers want them.
 *
 * The bytes (the same table stands in src/cloison/plan/codec.py), all numbers
 * little endian:
 *
 *	header	"CLPN", version 1, size of the whole, number of steps, number
 *		of undo steps, flags (bit 0: report every step), number of
 *		inherited descriptors, zero: eight times 4 bytes
 *	record	kind (2), 0 host 1 inside (1), flags (1), size with this head,
 *		a multiple of 8 (4), then the fields in the table's order
 *	field	int hex oct slot out	8 bytes, signed
 *		text	length (4), bytes, NUL, zeros up to a multiple of 8
 *		texts	length (4), count (4), the items, each with its NUL,
 *			zeros up to a multiple of 8
 *		blob	length (4), bytes, zeros up to a multiple of 8
 */
#ifndef CLOISON_DECODE_H
#define CLOISON_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "steps.h"

#define PLAN_MAX (1U << 20)	/* bytes; real ones are under 40 KiB */

enum where { HOST = 0, INSIDE = 1 };

enum step_flag {
	STEP_OPTIONAL = 1,	/* a failure is a warning */
	STEP_FINAL = 2,		/* undo: only if all before it succeeded */
};

struct step {
	uint16_t kind;
	uint8_t where;
	uint8_t flags;
	union args args;
};

struct plan {
	const struct step *steps;
	const struct step *undo;
	uint32_t nsteps;
	uint32_t nundo;
	uint32_t inherited;	/* descriptors: slots 0, 1, ... */
	bool verbose;
	unsigned char *bytes;	/* into which the texts point; see plan_load */
	void *arena;		/* holds the steps; see decode.c */
	size_t arena_size;
};

/* Check all of `bytes` and fill `plan`, whose texts then point into `bytes`.
 * Where that fails, *bad is the offset of what was refused. */
bool plan_decode(const unsigned char *bytes, size_t size, struct plan *plan,
		 size_t *bad);
void plan_free(struct plan *plan);

/* One line for each step, to `fd`; equal to plan.text:text in Python. */
void plan_print(const struct plan *plan, int fd);

#endif
