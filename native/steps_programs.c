/* Steps on programs of the host: nft, dnsmasq. What they are told, and who
 * they are, was decided in Python; there is no shell and no search. */
#define _GNU_SOURCE

#include "launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define END_MS 2000	/* dnsmasq writes its leases first */
#define KILL_MS 2000
#define WORDS_SIZE 4096

/* --- run ----------------------------------------------------------------- */

/* A file of its own, so that nobody waits for anybody half way. */
static int
make_input(const char *text)
{
	int fd = outcome(memfd_create("input", MFD_CLOEXEC));
	int error = fd < 0 ? fd : write_all(fd, text, strlen(text));

	if (error >= 0)
		error = outcome(lseek(fd, 0, SEEK_SET));
	if (error >= 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}

/* What the last program said that failed: a file, or -1. */
static int words = -1;

int
program_words(void)
{
	return words;
}

static void
forget_words(void)
{
	if (words >= 0)
		close(words);
	words = -1;
}

/* What is more than there is room for is refused, and is the end of a long
 * story anyway. Without the file the program can speak to nobody. */
static void
make_words(void)
{
	forget_words();
	words = memfd_create("words", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (words >= 0 && (ftruncate(words, WORDS_SIZE) < 0 ||
			   fcntl(words, F_ADD_SEALS, F_SEAL_GROW) < 0))
		forget_words();
}

/* In the new process. It tells of an exec that failed by the errno, since no
 * program's exit status can be told from another's. */
static _Noreturn void
become(struct state *st, const struct arg_run *arg, int input, int tell)
{
	int error = null_streams();

	if (error >= 0)
		error = outcome(dup2(input, STDIN_FILENO));
	if (error >= 0 && words >= 0)
		error = outcome(dup2(words, STDERR_FILENO));
	if (error >= 0) {
		prepare_exec(st);
		umask(022);
		execve(arg->argv[0], arg->argv, environ);
		error = -errno;
	}
	if (write(tell, &error, sizeof error) < 0)
		_exit(126);
	_exit(127);
}

static int
await(struct state *st, pid_t pid, int tell)
{
	int error, status;

	if (read(tell, &error, sizeof error) != sizeof error)
		error = 0;
	if (waitpid(pid, &status, __WALL) < 0)
		return -errno;
	if (error < 0 || status == 0)
		return error;
	st->value = status;
	return -ECHILD;
}

int
do_run(const struct arg_run *arg, struct state *st)
{
	const struct clone_args fork = { .exit_signal = SIGCHLD };
	int tell[2], pid, input, error;

	if (*arg->argv == NULL || **arg->argv != '/')
		return -EINVAL;
	input = make_input(arg->input);
	if (input < 0)
		return input;
	if (pipe2(tell, O_CLOEXEC) < 0) {
		error = -errno;
		close(input);
		return error;
	}
	make_words();
	pid = sys_clone3(&fork);
	if (pid == 0)
		become(st, arg, input, tell[1]);
	close(tell[1]);
	close(input);
	error = pid < 0 ? pid : await(st, pid, tell[0]);
	close(tell[0]);
	if (error != -ECHILD)
		forget_words();
	return error;
}

/* --- terminate ----------------------------------------------------------- */

/* Up to `size` - 1 bytes of a file, with a NUL behind them. */
static ssize_t
read_start(const char *path, char *bytes, size_t size)
{
	int fd = sys_open(path, O_RDONLY);
	ssize_t length;

	if (fd < 0)
		return fd;
	length = read(fd, bytes, size - 1);
	if (length < 0)
		length = -errno;
	close(fd);
	bytes[length < 0 ? 0 : length] = '\0';
	return length;
}

/* The pid in a file: 0 where there is none. */
static int
pid_in(const char *path, uint32_t *pid)
{
	char text[NUMBER_SIZE];
	ssize_t length = read_start(path, text, sizeof text);

	*pid = 0;
	if (length < 0)
		return length == -ENOENT ? 0 : (int)length;
	text[strcspn(text, "\n")] = '\0';
	if (*text == '\0')	/* whoever was to fill it is gone */
		return 0;
	return text_number(text, pid);
}

/* Whether `word` is a part of an argument of a process. */
static bool
is_about(uint32_t pid, const char *word)
{
	static char command[3 * 4096];
	char digits[NUMBER_SIZE], path[CHILD_PATH];
	ssize_t length;

	if (JOIN(path, "/proc/", number_text(digits, pid, 10),
		 "/cmdline") < 0)
		return false;
	length = read_start(path, command, sizeof command);
	return length > 0 &&
	       memmem(command, (size_t)length, word, strlen(word)) != NULL;
}

static bool
ends(int pidfd, int signo, int patience_ms)
{
	struct pollfd process = { .fd = pidfd, .events = POLLIN };

	return sys_pidfd_send_signal(pidfd, signo) == -ESRCH ||
	       poll(&process, 1, patience_ms) > 0;
}

/* The number may be another's by now: the process is held first, and then
 * asked what it is. */
int
do_terminate(const struct arg_terminate *arg, UNUSED struct state *st)
{
	uint32_t pid;
	int pidfd, error = pid_in(arg->pidfile, &pid);

	if (error < 0 || pid == 0)
		return error;
	pidfd = sys_pidfd_open((pid_t)pid);
	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	if (is_about(pid, arg->word) && !ends(pidfd, SIGTERM, END_MS) &&
	    !ends(pidfd, SIGKILL, KILL_MS))
		error = -ETIMEDOUT;
	close(pidfd);
	return error;
}
