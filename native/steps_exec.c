/* The end of the new process's part: it becomes the payload. */
#define _GNU_SOURCE

#include "launcher.h"

#include <signal.h>
#include <sys/stat.h>

/* rt_sigaction(2) itself, with what the kernel reads as SIG_DFL: libc hides
 * the two signals that it uses for threads, and its posix_spawn(3) leaves them
 * ignored. CLONE_CLEAR_SIGHAND would spare the loop, but not for ignored ones:
 * Python ignores SIGPIPE, nohup(1) SIGHUP, and execve(2) hands that on. */
static void
reset_signals(void)
{
	static const uint64_t SIGACTION_DEFAULT[4], NO_SIGNALS;

	for (int signo = 1; signo <= 64; signo++)
		syscall(SYS_rt_sigaction, signo, SIGACTION_DEFAULT, NULL,
			sizeof NO_SIGNALS);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &NO_SIGNALS, NULL,
		sizeof NO_SIGNALS);
}

/* Every descriptor of ours is close-on-exec from birth; close_range(2) is for
 * those that a later libc or kernel may open for us (CVE-2024-21626). */
void
prepare_exec(struct state *st)
{
	if (st->prepared)
		return;
	st->prepared = true;
	reset_signals();
	sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* execve(2). Of several candidates that cannot be executed one error is told:
 * "not allowed" before "not there", as in execvp(3); what is there and no
 * program ends the search. */
int
do_exec(const struct arg_exec *arg, struct state *st)
{
	int error = -ENOENT;

	prepare_exec(st);
	umask(st->umask);
	*st->progress = PROGRESS_EXEC;
	for (char *const *program = arg->programs; *program; program++) {
		execve(*program, arg->argv, arg->env);
		if (errno == EACCES) {
			error = -EACCES;
		} else if (errno != ENOENT && errno != ENOTDIR) {
			error = -errno;
			break;
		}
	}
	*st->progress = st->step;
	return error;
}
