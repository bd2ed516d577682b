/* Steps on processes and namespaces. */
#define _GNU_SOURCE

#include "launcher.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>

int
null_streams(void)
{
	int null = sys_open("/dev/null", O_RDWR);

	if (null < 0)
		return null;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	return close(null);
}

/* The caller waits for the process it has spawned, and gets its answer from
 * the report socket: the one that ends here has nothing to say. */
int
do_detach(UNUSED const struct arg_detach *arg, UNUSED struct state *st)
{
	const struct clone_args fork = { .exit_signal = SIGCHLD };
	int pid = sys_clone3(&fork);

	if (pid < 0)
		return pid;
	if (pid > 0)
		_exit(0);
	if (setsid() < 0 || chdir("/") < 0)
		return -errno;
	return null_streams();
}

/* clone3(2): CLONE_INTO_CGROUP since Linux 5.7. No signal of ours and no
 * memory of ours is shared with the new process, but for one page, in which
 * it notes its step: should it die without a word, we know where. */
int
do_clone(const struct arg_clone *arg, struct state *st)
{
	struct clone_args args = {
		.flags = (uint64_t)arg->flags | CLONE_PIDFD,
		.pidfd = (uintptr_t)&st->pidfd,
		.exit_signal = SIGCHLD,
	};
	int inside, pid;

	st->progress = mmap(NULL, sizeof *st->progress, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (st->progress == MAP_FAILED)
		return -errno;
	pid = baton_make(st, &inside);
	if (pid < 0)
		return pid;
	if (arg->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (__u64)slot_fd(st, arg->cgroup);
	}
	pid = sys_clone3(&args);
	if (pid == 0) {
		close(st->baton);
		st->baton = inside;
		st->where = INSIDE;
		run_inside(st);
	}
	close(inside);
	if (pid < 0)
		return pid;
	st->child = pid;
	return 0;
}

/* Through /proc of the host. The new process waits for its turn, and nobody
 * has waited for it: its number cannot be another's. */
int
child_path(const struct state *st, const char *dir, const char *name,
	   char path[CHILD_PATH])
{
	char digits[NUMBER_SIZE];
	const char *const parts[] = {
		"/proc/", number_text(digits, (uint64_t)st->child, 10), dir,
		name, NULL
	};

	return st->child == 0 ? -ESRCH : text_join(path, CHILD_PATH, parts);
}

int
do_open_child_ns(const struct arg_open_child_ns *arg, struct state *st)
{
	char path[CHILD_PATH];
	int error = child_path(st, "/ns/", arg->name, path);

	if (error < 0)
		return error;
	return slot_fill(st, arg->out, sys_open(path, O_RDONLY));
}

int
do_unshare(const struct arg_unshare *arg, UNUSED struct state *st)
{
	return outcome(unshare((int)arg->flags));
}

/* setns(2): several namespaces of a pidfd at once since Linux 5.8. */
int
do_setns(const struct arg_setns *arg, struct state *st)
{
	return outcome(setns(slot_fd(st, arg->fd), (int)arg->flags));
}

int
do_setsid(UNUSED const struct arg_setsid *arg, UNUSED struct state *st)
{
	return outcome(setsid());
}

/* PR_SET_PDEATHSIG(2const) tells of a death to come, not of one that was.
 * The launcher's end of the baton is closed before that death is announced:
 * if it is open now, the signal cannot be missed any more. */
int
do_pdeathsig(const struct arg_pdeathsig *arg, struct state *st)
{
	struct pollfd launcher = { .fd = st->baton };

	if (prctl(PR_SET_PDEATHSIG, arg->signal) < 0)
		return -errno;
	if (st->where == INSIDE && poll(&launcher, 1, 0) != 0)
		_exit(1);
	return 0;
}

int
do_set_dumpable(const struct arg_set_dumpable *arg, UNUSED struct state *st)
{
	return outcome(prctl(PR_SET_DUMPABLE, arg->value, 0, 0, 0));
}

int
do_personality(const struct arg_personality *arg, UNUSED struct state *st)
{
	return outcome(personality((unsigned long)arg->value));
}
