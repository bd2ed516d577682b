/* The console of an instance: a terminal's master, its log, and input. */
#define _GNU_SOURCE

#include "monitor.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int master = -1;

/* Input that the terminal has not taken: the payload does not read. As long
 * as there is some, no client is read, so that none of it is lost. */
static struct {
	size_t at, end;
	char bytes[CHUNK];
} input;

static struct {
	int fd;
	uint64_t size;
	uint64_t limit;		/* 0: none */
	char name[PATH_MAX];	/* "": no log */
} logfile = { .fd = -1 };

/* --- the log ------------------------------------------------------------- */

/* In a directory of ours, though perhaps one that others may write to. */
static void
log_open(void)
{
	struct stat seen;

	if (*logfile.name == '\0')
		return;
	logfile.fd = open(logfile.name, O_WRONLY | O_APPEND | O_CREAT |
			  O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0640);
	if (logfile.fd >= 0 && fstat(logfile.fd, &seen) == 0)
		logfile.size = (uint64_t)seen.st_size;
}

/* One old log is kept: the limit holds for each of the two. */
static void
log_rotate(void)
{
	char old[PATH_MAX];

	if (JOIN(old, logfile.name, ".1") < 0)
		return;
	rename(logfile.name, old);
	close(logfile.fd);
	log_open();
}

/* A full disk must not stop the payload: what cannot be logged is lost. */
static void
log_append(const char *bytes, size_t size)
{
	ssize_t written;

	if (logfile.fd < 0)
		return;
	if (logfile.limit > 0 && logfile.size > 0 &&
	    logfile.size + size > logfile.limit)
		log_rotate();
	written = write(logfile.fd, bytes, size);
	if (written > 0)
		logfile.size += (uint64_t)written;
}

/* --- the terminal -------------------------------------------------------- */

void
console_open(int fd, const char *log, int64_t log_size)
{
	master = fd;
	if (master < 0 || JOIN(logfile.name, log) < 0)
		return;
	fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
	logfile.limit = log_size > 0 ? (uint64_t)log_size : 0;
	log_open();
}

void
console_close(void)
{
	if (master >= 0)
		close(master);
	if (logfile.fd >= 0)
		close(logfile.fd);
	master = logfile.fd = -1;
}

int
console_take_output(void)
{
	static char bytes[CHUNK];
	ssize_t size = read(master, bytes, sizeof bytes);

	if (size < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	log_append(bytes, (size_t)size);
	stream_output(bytes, (size_t)size);
	return (int)size;
}

void
console_flush_input(void)
{
	ssize_t written = write(master, input.bytes + input.at,
				input.end - input.at);

	if (written > 0)
		input.at += (size_t)written;
	else if (errno != EAGAIN && errno != EINTR)
		input.at = input.end;	/* nobody will ever read it */
}

bool
console_has_input(void)
{
	return input.at < input.end;
}

void
console_give_input(const char *bytes, size_t size)
{
	input.at = 0;
	input.end = size < CHUNK ? size : CHUNK;
	memcpy(input.bytes, bytes, input.end);
	console_flush_input();
}

int
console_resize(uint32_t rows, uint32_t cols)
{
	struct winsize size = { .ws_row = (unsigned short)rows,
				.ws_col = (unsigned short)cols };

	return master < 0 ? -ENOTTY : outcome(ioctl(master, TIOCSWINSZ, &size));
}

int32_t
console_log_size(void)
{
	return (int32_t)(logfile.size < INT32_MAX ? logfile.size : INT32_MAX);
}
