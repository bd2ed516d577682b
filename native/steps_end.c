/* The two ways in which the launcher stays beside the payload. */
#define _GNU_SOURCE

#include "monitor.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static void
ignore_signals(const int *signals, size_t count)
{
	for (size_t i = 0; i < count; i++)
		signal(signals[i], SIG_IGN);
}

/* For a command that runs in the foreground. The caller forwards the signals
 * it gets to the payload itself; those that a terminal sends to the whole
 * group must not end this process before the payload has answered them. */
int
do_wait(UNUSED const struct arg_wait *arg, struct state *st)
{
	static const int IGNORED[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP };

	ignore_signals(IGNORED, sizeof IGNORED / sizeof *IGNORED);
	report(REPORT_EXITED, HOST, st->step, 0, reap(st));
	return 0;
}

/* --- the monitor's own end ----------------------------------------------- */

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A line "name number" to a file. */
static void
put_line(int fd, const char *name, uint64_t value)
{
	char digits[NUMBER_SIZE], line[64];

	if (JOIN(line, name, " ", number_text(digits, value, 10), "\n") == 0 &&
	    write(fd, line, strlen(line)) < 0)
		return;
}

/* The exit record, written beside and renamed. */
static void
write_record(const char *path, int status, uint64_t started, unsigned failed)
{
	static char fresh[PATH_MAX];
	int fd;

	if (*path == '\0' || JOIN(fresh, path, ".new") < 0)
		return;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		  0644);
	if (fd < 0)
		return;
	put_line(fd, "status", (uint64_t)status);
	put_line(fd, "started_ns", started);
	put_line(fd, "ended_ns", now_ns());
	put_line(fd, "undo_failed", failed);
	close(fd);
	rename(fresh, path);
}

/* reboot(2) inside a pid namespace ends its init, with SIGHUP for a restart
 * and SIGINT for a halt (pid_namespaces(7)). */
static bool
wants_reboot(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP &&
	       !monitor_is_stopping();
}

/* The plan once more, from the descriptor that has been open all the time: in
 * the meantime its memory was better used. */
static const struct arg_monitor *
load_again(struct plan *plan)
{
	size_t bad;

	if (plan_load(PLAN_FD, plan, &bad) < 0 || plan->nsteps == 0 ||
	    plan->steps[plan->nsteps - 1].kind != KIND_MONITOR)
		return NULL;
	return &plan->steps[plan->nsteps - 1].args.monitor;
}

static _Noreturn void
finish(struct state *st, struct plan *plan, const struct arg_monitor *arg,
       int status, uint64_t started)
{
	unsigned failed;

	if (arg == NULL) {
		monitor_farewell(-EBUSY, status);
		_exit(1);
	}
	failed = undo_run(plan, false);
	write_record(arg->record, status, started, failed);
	if (failed == 0)
		failed = undo_run(plan, true);
	monitor_farewell(failed == 0 ? 0 : -EBUSY, status);
	if (wants_reboot(status) && failed == 0 && *arg->reboot != NULL) {
		prepare_exec(st);
		umask(st->umask);
		execve(arg->reboot[0], arg->reboot, environ);
	}
	_exit(failed == 0 ? 0 : 1);
}

/* From the slots, what is kept; `peer` by staying open. A terminal whose slave
 * nobody has open answers with EIO, and is only looked at again every now and
 * then: with a slave of our own it never does. */
static int
keep(struct state *st, int64_t slot)
{
	int fd = slot_fd(st, slot);

	if (fd >= 0)
		st->fd[slot] = -1;
	return fd;
}

int
do_monitor(const struct arg_monitor *arg, struct state *st)
{
	static const int IGNORED[] = { SIGHUP, SIGINT, SIGPIPE, SIGQUIT };
	int listener = keep(st, arg->socket);
	int console = keep(st, arg->console);
	int peer = keep(st, arg->peer);
	uint64_t started = now_ns();
	struct plan plan;
	int status;

	report_close();
	ignore_signals(IGNORED, sizeof IGNORED / sizeof *IGNORED);
	prctl(PR_SET_NAME, "cloison-monitor");
	prctl(PR_SET_DUMPABLE, 0);
	console_open(console, arg->log, arg->log_size);
	slots_close(st);
	close(st->baton);
	munmap((void *)(uintptr_t)st->progress, sizeof *st->progress);
	plan_unload(st->plan);

	monitor_watch(st->child, st->pidfd, listener, console);
	arg = load_again(&plan);
	if (arg != NULL && monitor_is_to_kill())
		undo_kill(&plan);
	status = reap(st);
	console_close();
	if (peer >= 0)
		close(peer);
	finish(st, &plan, arg, status, started);
}
