/* Doors for tests: where to die, to fail or to stop. A race is forced at a
 * named step and not by sleeping. The shipped program has none of this. */
#define _GNU_SOURCE

#include "launcher.h"

#ifdef CLOISON_TEST_HOOKS

#include <signal.h>
#include <stdlib.h>

static int64_t kill_before, kill_after, kill_undo, fail_at, stop_at;

static int64_t
number_of(const char *name)
{
	const char *text = getenv(name);
	uint32_t value;

	if (text == NULL || text_number(text, &value) < 0)
		return -1;
	return value;
}

/* SIGCONT is blocked from here on (exec clears the mask): one that comes before
 * the process has come to its stop is kept for it. */
void
hooks_read(void)
{
	sigset_t cont;

	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	sigprocmask(SIG_BLOCK, &cont, NULL);
	kill_before = number_of("CLOISON_KILL_BEFORE");
	kill_after = number_of("CLOISON_KILL_AFTER");
	kill_undo = number_of("CLOISON_KILL_UNDO");
	fail_at = number_of("CLOISON_FAIL_AT");
	stop_at = number_of("CLOISON_STOP_AT");
}

/* Process 1 of a pid namespace is immune to its own SIGKILL, though not to a
 * fault (pid_namespaces(7)). */
static _Noreturn void
die(void)
{
	kill(getpid(), SIGKILL);
	__builtin_trap();
}

/* And to its own SIGSTOP: it waits for the SIGCONT instead, blocked anew, for
 * shortly before exec the mask has been made the payload's. */
static void
stop(void)
{
	sigset_t cont;

	if (getpid() != 1) {
		kill(getpid(), SIGSTOP);
		return;
	}
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	sigprocmask(SIG_BLOCK, &cont, NULL);
	sigwaitinfo(&cont, NULL);
	sigprocmask(SIG_UNBLOCK, &cont, NULL);
}

void
hook_before(uint32_t step)
{
	if (step == kill_before)
		die();
	if (step == stop_at)
		stop();
}

void
hook_after(uint32_t step)
{
	if (step == kill_after)
		die();
}

void
hook_before_undo(uint32_t step)
{
	if (step == kill_undo)
		die();
}

bool
hook_fails(uint32_t step)
{
	return step == fail_at;
}

#endif
