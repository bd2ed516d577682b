/* The end of the new process's part: it becomes the payload. */
#define _GNU_SOURCE

#include "launcher.h"

#include <signal.h>
#include <sys/stat.h>

/* A payload starts with no signal ignored or blocked, as execve(2) hands both
 * on: Python ignores SIGPIPE, and nohup(1) SIGHUP. CLONE_CLEAR_SIGHAND would
 * leave the ignored ones. And with nothing open above 2 (CVE-2024-21626): all
 * of ours are close-on-exec from birth, so this is for those that a later
 * kernel or libc may open for us. */
void
prepare_exec(struct state *st)
{
	sigset_t none;

	if (st->prepared)
		return;
	st->prepared = true;
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	umask(st->umask);
}

/* execve(2). Of several candidates that cannot be executed one error is told:
 * "not allowed" before "not there", as in execvp(3); what is there and no
 * program ends the search. */
int
do_exec(const struct arg_exec *arg, struct state *st)
{
	int error = -ENOENT;

	prepare_exec(st);
	*st->progress = PROGRESS_EXEC;
	for (char *const *program = arg->programs; *program; program++) {
		execve(*program, arg->argv, arg->env);
		if (errno == EACCES)
			error = -EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			return -errno;
	}
	return error;
}
