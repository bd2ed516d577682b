/* What a monitor leaves behind, beside the instance's files:
 *
 *	<record>	how the instance ended: lines "name number"
 *	<record>.usage	what it had used by then: for each sample its name,
 *			its length and a newline, the bytes, a newline; what
 *			could not be read has the length 0
 *
 * Both are written beside and renamed: who reads them finds a whole one. */
#define _GNU_SOURCE

#include "monitor.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SAMPLE_MAX 16384	/* bytes of one file; real ones have few */
#define INTERFACES "net/dev"	/* the last sample's name, below /proc/self */

static char fresh[PATH_MAX];

/* The file that will be `path`: a descriptor, or -1. */
static int
begin_file(const char *path)
{
	if (JOIN(fresh, path, ".new") < 0)
		return -1;
	return open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
		    O_CLOEXEC, 0644);
}

uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- how it ended -------------------------------------------------------- */

/* A line "name number" to a file. */
static void
put_line(int fd, const char *name, uint64_t value)
{
	char digits[NUMBER_SIZE], line[64];

	if (JOIN(line, name, " ", number_text(digits, value, 10), "\n") == 0 &&
	    write(fd, line, strlen(line)) < 0)
		return;
}

void
record_exit(const char *path, int status, uint64_t started, unsigned failed)
{
	int fd = *path == '\0' ? -1 : begin_file(path);

	if (fd < 0)
		return;
	put_line(fd, "status", (uint64_t)status);
	put_line(fd, "started_ns", started);
	put_line(fd, "ended_ns", now_ns());
	put_line(fd, "undo_failed", failed);
	close(fd);
	rename(fresh, path);
}

/* --- what it had used ---------------------------------------------------- */

static bool
put(int fd, const char *bytes, size_t size)
{
	return write(fd, bytes, size) == (ssize_t)size;
}

/* Files of the kernel may give less at once than there is. */
static size_t
read_whole(const char *path, char *bytes)
{
	int fd = sys_open(path, O_RDONLY);
	size_t size = 0;
	ssize_t length = 1;

	if (fd < 0)
		return 0;
	for (; length > 0 && size < SAMPLE_MAX; size += (size_t)length) {
		length = read(fd, bytes + size, SAMPLE_MAX - size);
		if (length < 0)
			length = 0;
	}
	close(fd);
	return size;
}

static bool
put_sample(int fd, const char *name, const char *path)
{
	static char head[PATH_MAX + NUMBER_SIZE], bytes[SAMPLE_MAX + 1];
	char digits[NUMBER_SIZE];
	size_t size = read_whole(path, bytes);

	bytes[size++] = '\n';
	return JOIN(head, name, " ", number_text(digits, size - 1, 10),
		    "\n") == 0 &&
	       put(fd, head, strlen(head)) && put(fd, bytes, size);
}

/* /proc shows the network of who reads. The way back cannot fail: it leads to
 * where this process has been all the time. */
static bool
put_interfaces(int fd, int netns)
{
	int home = sys_open("/proc/self/ns/net", O_RDONLY);
	bool ok = false;

	if (home < 0)
		return false;
	if (setns(netns, CLONE_NEWNET) == 0) {
		ok = put_sample(fd, INTERFACES,
				"/proc/thread-self/" INTERFACES);
		ok &= setns(home, CLONE_NEWNET) == 0;
	}
	close(home);
	return ok;
}

void
record_usage(const char *record, char *const *samples, int netns)
{
	static char path[PATH_MAX];
	bool ok = true;
	int fd;

	if (*record == '\0' || *samples == NULL ||
	    JOIN(path, record, ".usage") < 0)
		return;
	fd = begin_file(path);
	if (fd < 0)
		return;
	for (; ok && *samples != NULL; samples++)
		ok = put_sample(fd, *samples, *samples);
	if (ok && netns >= 0)
		ok = put_interfaces(fd, netns);
	close(fd);
	/* Half of it would be counted as the whole. */
	if (ok)
		rename(fresh, path);
	else
		unlink(fresh);
}
