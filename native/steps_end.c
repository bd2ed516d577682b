/* The two ways in which the launcher stays beside the payload. */
#define _GNU_SOURCE

#include "monitor.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

/* reboot(2) inside a pid namespace ends its init, with SIGHUP for a restart
 * and SIGINT for a halt (pid_namespaces(7)). */
static bool
wants_reboot(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP &&
	       !monitor_is_stopping();
}

/* What older versions knew of, with nothing in the place of the rest. */
static void
complete(const struct arg_monitor_of_old *old, struct arg_monitor *arg)
{
	static char *const NOTHING[] = { NULL };

	*arg = (struct arg_monitor){
		.socket = old->socket,
		.console = old->console,
		.peer = old->peer,
		.log = old->log,
		.log_size = old->log_size,
		.record = old->record,
		.reboot = old->reboot,
		.alarm = -1,
		.on_alarm = NOTHING,
		.netns = -1,
		.samples = NOTHING,
	};
}

/* The plan once more, from the descriptor that has been open all the time: in
 * the meantime its memory was better used. */
bool
monitor_load(struct plan *plan, struct arg_monitor *arg)
{
	const struct step *last;
	size_t bad;

	if (plan_load(PLAN_FD, plan, &bad) < 0 || plan->nsteps == 0)
		return false;
	last = &plan->steps[plan->nsteps - 1];
	if (last->kind == KIND_MONITOR_OF_OLD)
		complete(&last->args.monitor_of_old, arg);
	else
		*arg = last->args.monitor;
	return last->kind == KIND_MONITOR || last->kind == KIND_MONITOR_OF_OLD;
}

static _Noreturn void
finish(struct state *st, struct plan *plan, const struct arg_monitor *arg,
       int status, uint64_t started)
{
	unsigned failed = undo_run(plan, false);

	record_exit(arg->record, status, started, failed);
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

/* Only the numbers of `kept` are used: its texts go with the plan. */
static _Noreturn void
stay(struct state *st, const struct arg_monitor *kept)
{
	static const int IGNORED[] = { SIGHUP, SIGINT, SIGPIPE, SIGQUIT };
	int listener = keep(st, kept->socket);
	int console = keep(st, kept->console);
	int peer = keep(st, kept->peer);
	int alarm = keep(st, kept->alarm);
	int netns = keep(st, kept->netns);
	uint64_t started = now_ns();
	struct arg_monitor arg;
	struct plan plan;
	bool loaded;
	int status;

	report_close();
	ignore_signals(IGNORED, sizeof IGNORED / sizeof *IGNORED);
	prctl(PR_SET_NAME, "cloison-monitor");
	prctl(PR_SET_DUMPABLE, 0);
	console_open(console, kept->log, kept->log_size);
	slots_close(st);
	close(st->baton);
	munmap((void *)(uintptr_t)st->progress, sizeof *st->progress);
	plan_unload(st->plan);

	monitor_watch(st, listener, console, alarm);
	loaded = monitor_load(&plan, &arg);
	if (loaded && monitor_is_to_kill())
		undo_kill(&plan);
	status = reap(st);
	console_close();
	if (peer >= 0)
		close(peer);
	if (!loaded) {
		monitor_farewell(-EBUSY, status);
		_exit(1);
	}
	record_usage(arg.record, arg.samples, netns);
	if (netns >= 0)	/* it would hold the interfaces up in the undo steps */
		close(netns);
	finish(st, &plan, &arg, status, started);
}

int
do_monitor(const struct arg_monitor *arg, struct state *st)
{
	stay(st, arg);
}

int
do_monitor_of_old(const struct arg_monitor_of_old *old, struct state *st)
{
	struct arg_monitor arg;

	complete(old, &arg);
	stay(st, &arg);
}
