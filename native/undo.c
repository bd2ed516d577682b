/* The way back.
 *
 * The undo steps stand in the plan in the order in which they run. They know
 * nothing of what was done: each finds out by itself, and what is gone already
 * is no error. So one that fails is noted, and the rest still runs. Only the
 * final ones, which remove the journal, need all others to have succeeded: as
 * long as the journal lies there, somebody can try again. */
#define _GNU_SOURCE

#include "launcher.h"

static unsigned
run_those(struct plan *plan, bool final, bool quiet)
{
	struct state none = { .plan = plan, .baton = -1, .pidfd = -1 };
	const struct step *step;
	unsigned failed = 0;
	int error;

	for (uint32_t i = 0; i < plan->nundo; i++) {
		step = &plan->undo[i];
		if (((step->flags & STEP_FINAL) != 0) != final)
			continue;
		if (!quiet)
			hook_before_undo(i);
		none.value = 0;
		error = do_step(step->kind, &step->args, &none);
		if (error >= 0)
			continue;
		if (!quiet)	/* its number would be another plan's */
			report(REPORT_UNDO_FAILED, HOST, i, -error, none.value);
		if ((step->flags & STEP_OPTIONAL) == 0)
			failed++;
		if (final)
			break;
	}
	return failed;
}

unsigned
undo_run(struct plan *plan, bool final)
{
	return run_those(plan, final, false);
}

/* What has come to a running instance stands in a plan of its own, written
 * before it came. The file goes when all of it is taken back. */
int
do_undo_later(const struct arg_undo_later *arg, UNUSED struct state *st)
{
	static bool busy;	/* one that names itself has no end */
	int fd = sys_open(arg->path, O_RDONLY);
	struct plan plan;
	unsigned failed;
	size_t bad;
	int error;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	error = busy ? -ELOOP : plan_load(fd, &plan, &bad);
	close(fd);
	if (error < 0)
		return error;
	busy = true;
	failed = run_those(&plan, false, true);
	busy = false;
	plan_unload(&plan);
	if (failed > 0)
		return -EBUSY;
	return unlink(arg->path) < 0 && errno != ENOENT ? -errno : 0;
}

/* Only what kills: init is waited for next, and does not end before everybody
 * in its pid namespace has. A process that is held in the freezer of cgroup v1
 * does not die of a signal; the guest may have put it there. */
void
undo_kill(struct plan *plan)
{
	struct state none = { .plan = plan, .baton = -1, .pidfd = -1 };

	for (uint32_t i = 0; i < plan->nundo; i++)
		if (plan->undo[i].kind == KIND_KILL_CGROUP)
			do_step(KIND_KILL_CGROUP, &plan->undo[i].args, &none);
}

unsigned
undo_all(struct plan *plan)
{
	unsigned failed = undo_run(plan, false);

	if (failed == 0)
		failed = undo_run(plan, true);
	report(REPORT_UNDONE, HOST, 0, 0, (int)failed);
	return failed;
}
