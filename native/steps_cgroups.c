/* Steps on control groups, the same for v1 and v2: directories of a file
 * system, in which files move and end processes (cgroups(7)). */
#define _GNU_SOURCE

#include "launcher.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DEPTH 32	/* levels below an instance that are looked at */
#define MKDIR_TRIES 16
#define KILL_ROUNDS 100
#define FREEZE_LOOKS 20
#define FREEZE_PAUSE_NS 500000L

/* A process that was killed has yet to end: the kernel needs some time to take
 * its memory down, the most where it sleeps in a device. */
#define BUSY_TOTAL_NS 10000000000L
#define BUSY_PAUSE_NS 1000000L
#define BUSY_PAUSE_MAX_NS 32000000L

struct level {
	int fd;
	char name[NAME_MAX + 1];
};

/* What is done to each cgroup; `name` is relative to `parent`. */
typedef int visitor(int parent, const char *name, int dir);

/* Up to what exists, and down again: *slash, cut and put back. */
static int
make_parents(char *path, size_t length)
{
	int error = -ENOENT;
	char *slash;

	while (error == -ENOENT && (slash = strrchr(path, '/')) > path) {
		*slash = '\0';
		error = outcome(mkdir(path, 0755));
	}
	while ((error >= 0 || error == -EEXIST) && strlen(path) < length) {
		path[strlen(path)] = '/';
		error = outcome(mkdir(path, 0755));
	}
	return error;
}

/* mkdir(2). Another instance that ends at this moment may remove a parent that
 * it found empty (see `prune`): then begin again. */
int
do_mkdir_cgroup(const struct arg_mkdir_cgroup *arg, UNUSED struct state *st)
{
	static char path[PATH_MAX];
	int error = outcome(mkdir(arg->path, 0755));

	for (int i = 0; i < MKDIR_TRIES && error == -ENOENT; i++) {
		if (JOIN(path, arg->path) < 0)
			return -ENAMETOOLONG;
		error = make_parents(path, strlen(path));
	}
	return error == -EEXIST ? 0 : error;
}

static int
attach(const char *path, const char *file, uint64_t pid)
{
	static char name[PATH_MAX];
	char digits[NUMBER_SIZE];

	if (JOIN(name, path, "/", file) < 0)
		return -ENAMETOOLONG;
	return write_at(AT_FDCWD, name, number_text(digits, pid, 10));
}

int
do_attach_cgroup(const struct arg_attach_cgroup *arg, struct state *st)
{
	if (st->child == 0)
		return -ESRCH;
	return attach(arg->path, "cgroup.procs", (uint64_t)st->child);
}

/* The kernel reads 0 as "the writer". In v1 a thread that moves itself, and
 * not its process, is moved at once; every other move waits until no process
 * is in the middle of a fork or an exit, which is an RCU grace period: about
 * 10 ms, the most expensive thing that a start could do. With one thread the
 * two are the same. A cgroup of v2 has no `tasks` (for it there is
 * CLONE_INTO_CGROUP). */
int
do_attach_self(const struct arg_attach_self *arg, UNUSED struct state *st)
{
	int error = attach(arg->path, "tasks", 0);

	return error == -ENOENT ? attach(arg->path, "cgroup.procs", 0) : error;
}

/* --- the tree below a cgroup --------------------------------------------- */

/* The next directory in `dir`: 1 and its name, or 0. The position is kept in
 * the descriptor, so that the walk may leave the directory and come back. */
static int
next_child(int dir, char name[NAME_MAX + 1])
{
	static union {
		struct dirent64 first;
		char bytes[2048];
	} buffer;
	const struct dirent64 *entry;
	long size, at;

	while ((size = syscall(SYS_getdents64, dir, &buffer,
			       sizeof buffer)) > 0) {
		for (at = 0; at < size; at += entry->d_reclen) {
			entry = (const void *)(buffer.bytes + at);
			if (entry->d_type != DT_DIR ||
			    strcmp(entry->d_name, ".") == 0 ||
			    strcmp(entry->d_name, "..") == 0)
				continue;
			lseek(dir, entry->d_off, SEEK_SET);
			strcpy(name, entry->d_name);
			return 1;
		}
	}
	return 0;
}

/* Visit `path` and all below it, children first. No recursion and no memory
 * but this: the depth is the guest's choice. Returns the last visit's value,
 * which is that of `path` itself. */
static int
visit_tree(const char *path, visitor *visit)
{
	static struct level levels[DEPTH];
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int depth = 0, error = 0;

	levels[0].fd = sys_open(path, flags);
	if (levels[0].fd < 0)
		return levels[0].fd;
	while (depth >= 0) {
		struct level *here = &levels[depth], *below = here + 1;

		if (depth + 1 < DEPTH && next_child(here->fd, below->name)) {
			below->fd = openat(here->fd, below->name, flags);
			if (below->fd >= 0)
				depth++;
			continue;
		}
		error = depth > 0 ? visit(here[-1].fd, here->name, here->fd)
				  : visit(AT_FDCWD, path, here->fd);
		close(here->fd);
		depth--;
	}
	return error;
}

static int
remove_visited(int parent, const char *name, UNUSED int dir)
{
	return outcome(unlinkat(parent, name, AT_REMOVEDIR));
}

/* --- killing ------------------------------------------------------------- */

/* Whether the round of kill_tree found a process. */
static bool found_alive;

/* SIGKILL to all that cgroup.procs lists; true where it lists any: one that is
 * gone by now may have forked before. A process of another pid namespace is
 * listed as 0. */
static bool
kill_listed(int procs)
{
	static char text[4096];
	pid_t pid = 0, self = getpid();
	bool found = false;
	ssize_t size;

	while ((size = read(procs, text, sizeof text)) > 0)
		for (ssize_t i = 0; i < size; i++) {
			if (text[i] != '\n') {	/* it may go on in the next */
				pid = pid * 10 + (text[i] - '0');
				continue;
			}
			if (pid > 1 && pid != self) {
				kill(pid, SIGKILL);
				found = true;
			}
			pid = 0;
		}
	return found;
}

/* A frozen cgroup of the v1 freezer does not die: thawed after the signal, it
 * does nothing else. (The one of v2 does.) */
static int
kill_visited(UNUSED int parent, UNUSED const char *name, int dir)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (kill_listed(fd))
		found_alive = true;
	close(fd);
	write_at(dir, "freezer.state", "THAWED");
	return 0;
}

/* In the freezer of v1, if this is it. A process that does not stand still soon
 * sleeps in the kernel, where it does not fork either: nobody waits for it. */
static void
freeze(int dir)
{
	static const char FROZEN[] = "FROZEN";
	const struct timespec pause = { .tv_nsec = FREEZE_PAUSE_NS };
	char state[16] = "";
	int fd;

	if (write_at(dir, "freezer.state", FROZEN) < 0)
		return;
	fd = openat(dir, "freezer.state", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	for (int i = 0; i < FREEZE_LOOKS; i++) {
		if (pread(fd, state, sizeof state, 0) <= 0 ||
		    memcmp(state, FROZEN, sizeof FROZEN - 1) == 0)
			break;
		nanosleep(&pause, NULL);
	}
	close(fd);
}

/* Where there is no cgroup.kill: again, until none is left. One round is mostly
 * enough; for what forks faster than it is listed, each further one first
 * freezes them. They are thawed by kill_visited. */
static int
kill_in_rounds(const char *path, int dir)
{
	int error;

	for (int round = 0; round < KILL_ROUNDS; round++) {
		if (round > 0)
			freeze(dir);
		found_alive = false;
		error = visit_tree(path, kill_visited);
		if (error < 0 || !found_alive)
			return error;
	}
	return 0;
}

/* cgroup.kill, since Linux 5.14 and in v2 only, ends a tree in which processes
 * fork at the same time in one go. */
static int
kill_tree(const char *path)
{
	int error, dir = sys_open(path, O_RDONLY | O_DIRECTORY);

	if (dir < 0)
		return dir;
	error = write_at(dir, "cgroup.kill", "1");
	if (error == -ENOENT)
		error = kill_in_rounds(path, dir);
	close(dir);
	return error;
}

int
do_kill_cgroup(const struct arg_kill_cgroup *arg, UNUSED struct state *st)
{
	int error = kill_tree(arg->path);

	return error == -ENOENT || error == -ENODEV ? 0 : error;
}

/* --- removing ------------------------------------------------------------ */

static int
remove_tree(const char *path)
{
	/* Mostly there is nothing below it. */
	if (rmdir(path) == 0)
		return 0;
	return errno == EBUSY ? visit_tree(path, remove_visited) : -errno;
}

static void
prune(const char *path, int64_t levels)
{
	static char cut[PATH_MAX];
	char *slash;

	if (JOIN(cut, path) < 0)
		return;
	for (; levels > 0; levels--) {
		slash = strrchr(cut, '/');
		if (slash == NULL || slash == cut)
			return;
		*slash = '\0';
		if (rmdir(cut) < 0)	/* others still use it */
			return;
	}
}

/* The guest may have started processes after the last kill: each round has one
 * of its own. */
int
do_rmdir_cgroup(const struct arg_rmdir_cgroup *arg, UNUSED struct state *st)
{
	int error = remove_tree(arg->path);
	struct timespec pause = { .tv_nsec = BUSY_PAUSE_NS };
	long waited_ns = 0;

	while (error == -EBUSY && waited_ns < BUSY_TOTAL_NS) {
		kill_tree(arg->path);
		nanosleep(&pause, NULL);
		waited_ns += pause.tv_nsec;
		if (pause.tv_nsec < BUSY_PAUSE_MAX_NS)
			pause.tv_nsec *= 2;
		error = remove_tree(arg->path);
	}
	if (error < 0 && error != -ENOENT)
		return error;
	prune(arg->path, arg->prune);
	return 0;
}
