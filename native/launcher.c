/* cloison's launcher: it carries out one plan.
 *
 *	launcher		run the plan on descriptor 3
 *	launcher --print	write it as text, from descriptor 3 or stdin
 *	launcher --undo		run only its undo steps
 *
 * Started with: 0, 1, 2 for the payload; 3 the plan, whose lock lives as long
 * as this process; 4 a socket for reports; from 5 on the descriptors that the
 * plan inherits. Ends with 0; 1 where the plan failed, which was reported; 2
 * where it is no plan.
 *
 * It holds mechanism and no policy: what is done, and in which order, was
 * decided in Python, is in the plan, and was checked before the first step. */
#define _GNU_SOURCE

#include "launcher.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { DONE = 0, FAILED = 1, INVALID = 2 };

int
slot_fill(struct state *st, int64_t slot, int fd)
{
	if (fd < 0)
		return fd;
	if (st->fd[slot] >= 0)
		close(st->fd[slot]);
	st->fd[slot] = fd;
	return 0;
}

void
slots_close(struct state *st)
{
	for (int i = 0; i < MAX_SLOTS; i++) {
		if (st->fd[i] >= 0)
			close(st->fd[i]);
		st->fd[i] = -1;
	}
}

int
do_close(const struct arg_close *arg, struct state *st)
{
	int fd = slot_fd(st, arg->fd);

	if (fd < 0)
		return -EBADF;
	st->fd[arg->fd] = -1;
	close(fd);
	return 0;
}

/* The bytes are read and not mapped: what was checked cannot change any more,
 * and a file that shrinks is no SIGBUS. Untouched pages cost nothing. */
int
plan_load(int fd, struct plan *plan, size_t *bad)
{
	unsigned char *bytes;
	size_t size = 0;
	ssize_t n = 1;

	*bad = 0;
	bytes = mmap(NULL, PLAN_MAX + 1, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	lseek(fd, 0, SEEK_SET);		/* a pipe stands there already */
	for (; n > 0 && size <= PLAN_MAX; size += (size_t)n) {
		n = read(fd, bytes + size, PLAN_MAX + 1 - size);
		if (n < 0)
			return -errno;
	}
	if (!plan_decode(bytes, size, plan, bad))
		return -EINVAL;
	plan->bytes = bytes;
	return 0;
}

void
plan_unload(struct plan *plan)
{
	munmap(plan->bytes, PLAN_MAX + 1);
	plan_free(plan);
}

int
reap(struct state *st)
{
	int status = 0;

	waitpid(st->child, &status, __WALL);
	st->child = 0;
	return status;
}

int
run_step(struct state *st)
{
	const struct step *step = &st->plan->steps[st->step];
	int error;

	hook_before(st->step);
	st->value = 0;
	error = hook_fails(st->step) ? -EIO
				     : do_step(step->kind, &step->args, st);
	hook_after(st->step);
	if (error >= 0) {
		if (st->plan->verbose)
			report(REPORT_STEP, (uint8_t)st->where, st->step, 0, 0);
		return 0;
	}
	if ((step->flags & STEP_OPTIONAL) == 0)
		return error;
	report(REPORT_WARNING, (uint8_t)st->where, st->step, -error,
	       st->value);
	return 0;
}

static bool
run_host_step(struct state *st, struct failure *failure)
{
	int error = run_step(st);

	if (error < 0) {
		*failure = (struct failure){ .where = HOST, .step = st->step,
					     .error = -error,
					     .value = st->value };
		return false;
	}
	st->step++;
	return true;
}

static void
end_child(struct state *st)
{
	if (st->child == 0)
		return;
	sys_pidfd_send_signal(st->pidfd, SIGKILL);
	reap(st);
}

/* Nothing of a failed plan stays: what holds resources is let go first. */
static int
give_up(struct state *st, const struct failure *failure)
{
	report_failed(failure, program_words());
	end_child(st);
	slots_close(st);
	undo_all(st->plan);
	return FAILED;
}

static int
run_plan(struct state *st)
{
	const struct plan *plan = st->plan;
	struct failure failure;
	bool ok = true;

	while (ok && st->step < plan->nsteps) {
		if (plan->steps[st->step].where == HOST)
			ok = run_host_step(st, &failure);
		else
			ok = baton_pass(st, &failure);
	}
	if (!ok)
		return give_up(st, &failure);
	/* Handed over to the caller's subreaper; or, where nothing was
	 * executed, it was only needed for its namespaces. */
	if (!st->executed)
		end_child(st);
	return DONE;
}

/* Slots 0, 1, ... are the descriptors that follow; everything above was not
 * meant for us (CVE-2024-21626). */
static void
adopt_descriptors(struct state *st, uint32_t inherited)
{
	unsigned beyond = FIRST_SLOT_FD + inherited;

	for (int i = 0; i < MAX_SLOTS; i++)
		st->fd[i] = i < (int)inherited ? FIRST_SLOT_FD + i : -1;
	sys_close_range(PLAN_FD, beyond - 1, CLOSE_RANGE_CLOEXEC);
	sys_close_range(beyond, ~0U, 0);
}

static int
print(void)
{
	int fd = fcntl(PLAN_FD, F_GETFD) < 0 ? STDIN_FILENO : PLAN_FD;
	struct plan plan;
	size_t bad;

	if (plan_load(fd, &plan, &bad) < 0)
		return INVALID;
	plan_print(&plan, STDOUT_FILENO);
	return DONE;
}

int
main(int argc, char **argv)
{
	static struct state st = { .pidfd = -1, .baton = -1 };
	static struct plan plan;
	size_t bad;
	int error;

	if (argc > 1 && strcmp(argv[1], "--print") == 0)
		return print();
	hooks_read();
	/* Ignored, children would vanish before anybody has waited. */
	signal(SIGCHLD, SIG_DFL);
	error = plan_load(PLAN_FD, &plan, &bad);
	if (error < 0) {
		report(REPORT_INVALID, HOST, 0, -error, (int)bad);
		return INVALID;
	}
	adopt_descriptors(&st, plan.inherited);
	if (argc > 1 && strcmp(argv[1], "--undo") == 0)
		return undo_all(&plan) == 0 ? DONE : FAILED;
	st.plan = &plan;
	st.umask = umask(0);
	return run_plan(&st);
}
