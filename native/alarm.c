/* The alarm: what tells the monitor that the kernel has killed a process of
 * the instance because its memory ran out.
 *
 *	v2	the file memory.events of its cgroup, whose change poll(2)
 *		tells as POLLPRI; "oom_kill N" in it is the number of kills in
 *		the whole tree. It also changes when the limit is merely
 *		reached, which is every day's business of a page cache.
 *	v1	an eventfd that the kernel rings, by way of
 *		cgroup.event_control (cgroup-v1/memory.rst, "OOM Control"),
 *		just before it kills
 *
 * What is then done about it is a command of the plan. It is run and left to
 * itself: the monitor is no place to wait. */
#define _GNU_SOURCE

#include "monitor.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OOM_CONTROL "memory.oom_control"
#define RING_SIZE 8	/* what an eventfd is read in (eventfd(2)) */

static int alarm_fd = -1;
static uint64_t kills;	/* those that were told of */
static int at_work = -1;	/* ends when the command does */

/* --- taking hold of it --------------------------------------------------- */

/* "EVENTFD FILE" is the line that the kernel wants; it keeps what it needs. */
static int
register_ring(int dir, int ring)
{
	char ring_digits[NUMBER_SIZE], file_digits[NUMBER_SIZE];
	char line[2 * NUMBER_SIZE];
	int error, file = outcome(openat(dir, OOM_CONTROL,
					 O_RDONLY | O_CLOEXEC));

	if (file < 0)
		return file;
	error = JOIN(line, number_text(ring_digits, (uint64_t)ring, 10), " ",
		     number_text(file_digits, (uint64_t)file, 10));
	if (error == 0)
		error = write_at(dir, "cgroup.event_control", line);
	close(file);
	return error;
}

static int
open_ring(const char *directory)
{
	int ring, error, dir = sys_open(directory, O_PATH | O_DIRECTORY);

	if (dir < 0)
		return dir;
	ring = outcome(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	error = ring < 0 ? ring : register_ring(dir, ring);
	close(dir);
	if (error >= 0)
		return ring;
	if (ring >= 0)
		close(ring);
	return error;
}

int
do_watch_oom(const struct arg_watch_oom *arg, struct state *st)
{
	static char directory[PATH_MAX];
	char *slash;

	if (JOIN(directory, arg->path) < 0)
		return -ENAMETOOLONG;
	slash = strrchr(directory, '/');
	if (slash == NULL || strcmp(slash + 1, OOM_CONTROL) != 0)
		return slot_fill(st, arg->out, sys_open(arg->path, O_RDONLY));
	*slash = '\0';
	return slot_fill(st, arg->out, open_ring(directory));
}

/* --- in the monitor ------------------------------------------------------ */

/* The number behind "oom_kill "; 0 where there is none. */
static uint64_t
counted(const char *text)
{
	const char *at = strstr(text, "\noom_kill ");
	uint64_t sum = 0;

	if (at == NULL)
		return 0;
	for (at += strlen("\noom_kill "); *at >= '0' && *at <= '9'; at++)
		sum = sum * 10 + (uint64_t)(*at - '0');
	return sum;
}

/* Reading is also what arms poll(2) again, for either kind. */
static ssize_t
look(char *text, size_t size)
{
	ssize_t length;

	lseek(alarm_fd, 0, SEEK_SET);
	length = read(alarm_fd, text, size - 1);
	text[length > 0 ? length : 0] = '\0';
	return length;
}

bool
alarm_rings(void)
{
	char text[512];
	uint64_t now;

	if (look(text, sizeof text) == RING_SIZE)
		return true;
	now = counted(text);
	if (now <= kills)
		return false;
	kills = now;
	return true;
}

/* A file can always be read, and tells of a change in another way: as it does
 * when nobody has read it yet, so that what was before is not missed. An
 * eventfd, which is opened for writing too, can be read when it has rung. */
short
alarm_open(int fd)
{
	alarm_fd = fd;
	return fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY
	       ? POLLPRI : POLLIN;
}

void
alarm_close(void)
{
	if (alarm_fd >= 0)
		close(alarm_fd);
	alarm_fd = -1;
	if (at_work >= 0)
		close(at_work);
	at_work = -1;
}

/* Whether the command that was last run still does. A pipe tells: nobody but
 * the command holds its other end. */
bool
alarm_is_answered(void)
{
	struct pollfd end = { .fd = at_work };

	if (at_work >= 0 && poll(&end, 1, 0) == 0)
		return true;
	if (at_work >= 0)
		close(at_work);
	at_work = -1;
	return false;
}

/* In a session of its own, with the null device as its streams, no signal of
 * ours ignored or blocked, and nothing of ours open but the end of the pipe:
 * the plan's lock must not outlive the monitor. It stays in the monitor's
 * cgroups: none of them is the instance's. */
static _Noreturn void
become_command(struct state *st, char *const *command, int end)
{
	setsid();
	null_streams();
	prepare_exec(st);
	fcntl(end, F_SETFD, 0);
	umask(st->umask);
	execve(*command, command, environ);
	_exit(127);
}

/* In between stands a process that ends at once, so that whoever adopts
 * orphans waits for the command. It reads the plan, for which there is no room
 * in the monitor's memory; the monitor meanwhile waits for it, as both read
 * through one file offset. */
void
alarm_answer(struct state *st)
{
	const struct clone_args fork = { .exit_signal = SIGCHLD };
	struct arg_monitor arg;
	struct plan plan;
	int pid, ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	pid = sys_clone3(&fork);
	if (pid > 0)
		waitpid(pid, NULL, __WALL);
	if (pid != 0) {
		close(ends[1]);
		at_work = ends[0];
		return;
	}
	if (!monitor_load(&plan, &arg) || *arg.on_alarm == NULL)
		_exit(1);
	if (sys_clone3(&fork) == 0)
		become_command(st, arg.on_alarm, ends[1]);
	_exit(0);
}
