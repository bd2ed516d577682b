/* What the parts of the launcher share.
 *
 * Two processes run this code: the launcher, on the host, and from the step
 * `clone` on the new process, inside. Each has a copy of the state below; they
 * share two things, the baton's socket and one page that says how far the new
 * process has come. */
#ifndef CLOISON_LAUNCHER_H
#define CLOISON_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "decode.h"
#include "sys.h"
#include "text.h"

#define UNUSED __attribute__((unused))

/* Where the caller puts them. Inherited descriptors follow: slots 0, 1, ... */
#define PLAN_FD 3
#define REPORT_FD 4
#define FIRST_SLOT_FD 5

/* More than any step: the new process stands before execve(2). */
#define PROGRESS_EXEC UINT32_MAX

struct state {
	struct plan *plan;
	uint32_t step;		/* the index of the one in progress */
	enum where where;	/* which of the two processes this is */
	int fd[MAX_SLOTS];
	mode_t umask;		/* the payload's; ours is 0: modes are exact */

	pid_t child;		/* the new process, as the host sees it */
	int pidfd;
	int baton;		/* our end */
	volatile uint32_t *progress;	/* the new process's step, shared */
	bool executed;
	bool prepared;		/* signals and descriptors, see do_exec */
	int value;		/* what a failing step says besides its errno */

	int mail[MAX_SLOTS];	/* what send_fd sent, for recv_fd to take */
	unsigned mail_head;
	unsigned mail_tail;
};

/* What a failure report says. */
struct failure {
	uint8_t where;
	uint32_t step;
	int error;		/* positive */
	int value;
};

/* --- launcher.c ---------------------------------------------------------- */

/* The descriptor in a slot, -1 for none; the second form names the working
 * directory instead, for the *at() family. */
static inline int
slot_fd(const struct state *st, int64_t slot)
{
	return slot < 0 ? -1 : st->fd[slot];
}

static inline int
slot_dir(const struct state *st, int64_t slot)
{
	return slot < 0 ? AT_FDCWD : st->fd[slot];
}

/* Put `fd`, or the -errno in its place, into a slot. Takes ownership. */
int slot_fill(struct state *st, int64_t slot, int fd);
void slots_close(struct state *st);

/* Read and check the plan on a descriptor: 0, or -errno with *bad the offset
 * of what was refused. */
int plan_load(int fd, struct plan *plan, size_t *bad);
void plan_unload(struct plan *plan);

/* Carry out the step st->step: 0, or -errno where that ends the plan. */
int run_step(struct state *st);

/* Wait for the new process: its wait status. */
int reap(struct state *st);

/* --- baton.c ------------------------------------------------------------- */

/* Make both ends; *inside is the new process's. */
int baton_make(struct state *st, int *inside);
/* Let the new process do its steps from st->step on; st->step is then the
 * next one of the host. */
bool baton_pass(struct state *st, struct failure *failure);
/* The life of the new process: waits for its turn, and again. */
_Noreturn void run_inside(struct state *st);

/* --- steps_files.c, steps_process.c -------------------------------------- */

/* Write `data` into a file that exists, with one write(2). */
int write_at(int dir, const char *path, const char *data);

/* /proc/PID, `dir` and `name` of the new process. */
#define CHILD_PATH 64
int child_path(const struct state *st, const char *dir, const char *name,
	       char path[CHILD_PATH]);

/* Write all of `size` bytes: 0 or -errno. */
int write_all(int fd, const void *bytes, size_t size);

/* Make the null device standard input, output and error: 0 or -errno. */
int null_streams(void);

/* --- steps_exec.c -------------------------------------------------------- */

/* All that the payload must not inherit; once. */
void prepare_exec(struct state *st);

/* --- steps_programs.c ---------------------------------------------------- */

/* What the program has said that has just failed: a file, or -1. */
int program_words(void);

/* --- undo.c -------------------------------------------------------------- */

/* Run the undo steps that are final, or those that are not; returns how many
 * failed. */
unsigned undo_run(struct plan *plan, bool final);
/* All of them, the final ones only where no other failed; reports the end. */
unsigned undo_all(struct plan *plan);
/* Only the steps that kill. */
void undo_kill(struct plan *plan);

/* --- report.c: what Python reads ----------------------------------------- */

enum report {
	REPORT_STEP = 1,
	REPORT_FAILED = 2,
	REPORT_WARNING = 3,
	REPORT_STARTED = 4,
	REPORT_EXITED = 5,
	REPORT_INVALID = 6,
	REPORT_ATTACHED = 7,	/* a descriptor comes with it */
	REPORT_UNDO_FAILED = 8,
	REPORT_UNDONE = 9,
};

void report(enum report type, uint8_t where, uint32_t step, int error,
	    int value);
void report_failed(const struct failure *, int fd);
int report_fd(uint8_t where, uint32_t step, int fd);
/* The caller has heard all that it needs. */
void report_close(void);
/* One message on a SEQPACKET socket, with a descriptor where fd is not -1. */
int send_message(int socket, const void *message, size_t size, int fd);

/* --- path.c: paths that the guest had a hand in -------------------------- */

/* What is made of a path that does not exist; the numbers of Create in
 * plan/steps.py. */
enum create { CREATE_NOTHING = 0, CREATE_DIRECTORY = 1, CREATE_FILE = 2 };

/* An O_PATH descriptor of `path` as a process with the root directory `root`
 * would find it. AT_FDCWD as the root means the plain path. */
int open_in_root(int root, const char *path, enum create create, mode_t mode);
/* A file of the procfs `proc`, for writing: in it, and in nothing mounted or
 * linked over a part of it. */
int open_procfs(int proc, const char *path);

/* --- hooks.c: doors for tests, empty in the shipped program -------------- */

#ifdef CLOISON_TEST_HOOKS
void hooks_read(void);
void hook_before(uint32_t step);
void hook_after(uint32_t step);
void hook_before_undo(uint32_t step);
bool hook_fails(uint32_t step);
#else
static inline void hooks_read(void) { }
static inline void hook_before(UNUSED uint32_t step) { }
static inline void hook_after(UNUSED uint32_t step) { }
static inline void hook_before_undo(UNUSED uint32_t step) { }
static inline bool hook_fails(UNUSED uint32_t step) { return false; }
#endif

#endif
