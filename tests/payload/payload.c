/* What the tests run inside a container: one program, one verb a time.
 *
 *	payload VERB [ARGUMENT...]
 *
 * A verb that asks the kernel for something prints "ok", or the name of the
 * errno that it was refused with, and ends with 0 in both cases: being refused
 * is an answer. 2 is for a verb that does not exist. */
#define _GNU_SOURCE

#include "payload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

static int
wait_for_ever(void)
{
	for (;;)
		pause();
	return 0;
}

/* Only the names that a test may hope for; musl has no strerrorname_np(3). */
const char *
error_name(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ EACCES, "EACCES" }, { EAGAIN, "EAGAIN" },
		{ EBADF, "EBADF" }, { EBUSY, "EBUSY" },
		{ ECHILD, "ECHILD" }, { ECONNREFUSED, "ECONNREFUSED" },
		{ ECONNRESET, "ECONNRESET" }, { EEXIST, "EEXIST" },
		{ EHOSTUNREACH, "EHOSTUNREACH" },
		{ EINVAL, "EINVAL" }, { EIO, "EIO" },
		{ EISDIR, "EISDIR" }, { ELOOP, "ELOOP" },
		{ ENODEV, "ENODEV" }, { ENOENT, "ENOENT" },
		{ ENOMEM, "ENOMEM" }, { ENOSPC, "ENOSPC" },
		{ ENOSYS, "ENOSYS" }, { ENOTDIR, "ENOTDIR" },
		{ ENOTTY, "ENOTTY" }, { ENXIO, "ENXIO" },
		{ EPERM, "EPERM" }, { EROFS, "EROFS" },
		{ ENETUNREACH, "ENETUNREACH" },
		{ ESRCH, "ESRCH" }, { ETIMEDOUT, "ETIMEDOUT" },
		{ ETXTBSY, "ETXTBSY" },
		{ EXDEV, "EXDEV" },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].error == error)
			return names[i].name;
	return "E?";
}

int
say(long result)
{
	puts(result < 0 ? error_name(errno) : "ok");
	return 0;
}

/* --- to be process 1 ----------------------------------------------------- */

static void
leave(int signo)
{
	_exit(signo == SIGTERM ? 0 : 1);
}

/* Ends on SIGTERM, and buries whoever is left to it. */
static int
do_init(char **argv)
{
	(void)argv;
	signal(SIGTERM, leave);
	for (;;)
		if (wait(NULL) < 0)
			pause();
	return 0;
}

/* Ends on nothing but SIGKILL. */
static int
do_deaf(char **argv)
{
	sigset_t all;

	(void)argv;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	puts("deaf");
	fflush(stdout);
	return wait_for_ever();
}

/* reboot(2) as whoever runs this: CMD is restart, halt or poweroff. */
static int
do_reboot(char **argv)
{
	int command = LINUX_REBOOT_CMD_POWER_OFF;

	if (strcmp(argv[0], "restart") == 0)
		command = (int)LINUX_REBOOT_CMD_RESTART;
	else if (strcmp(argv[0], "halt") == 0)
		command = (int)LINUX_REBOOT_CMD_HALT;
	return say(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1,
			   LINUX_REBOOT_MAGIC2, command, NULL));
}

/* --- files --------------------------------------------------------------- */

/* open PATH r|w */
static int
do_open(char **argv)
{
	return say(open(argv[0], argv[1][0] == 'w' ? O_WRONLY : O_RDONLY));
}

/* write PATH TEXT */
static int
do_write(char **argv)
{
	int fd = open(argv[0], O_WRONLY | O_CREAT, 0644);

	return say(fd < 0 ? fd : write(fd, argv[1], strlen(argv[1])));
}

static int
do_mknod(char **argv)
{
	return say(mknod(argv[0], S_IFCHR | 0600, makedev(1, 3)));
}

/* mount TYPE TARGET */
static int
do_mount(char **argv)
{
	return say(mount("none", argv[1], argv[0], 0, NULL));
}

static int
do_remount_rw(char **argv)
{
	return say(mount(NULL, argv[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int
do_umount(char **argv)
{
	return say(umount2(argv[0], MNT_DETACH));
}

static int
do_cwd(char **argv)
{
	char path[4096];

	(void)argv;
	if (getcwd(path, sizeof path) == NULL)
		return say(-1);
	puts(path);
	return 0;
}

/* --- what there is only so much of ---------------------------------------- */

/* fork N: how many of N children there could be at once. */
static int
do_fork(char **argv)
{
	int ends[2], wanted = atoi(argv[0]), made = 0;
	pid_t pid;
	char end;

	if (pipe(ends) < 0)
		return say(-1);
	while (made < wanted && (pid = fork()) >= 0) {
		if (pid == 0) {
			close(ends[1]);
			_exit(read(ends[0], &end, 1) != 0);
		}
		made++;
	}
	printf("%d\n", made);
	return 0;	/* which ends the pipe, and so the children */
}

/* alloc BYTES: touches that much memory, and may keep it. */
static int
do_alloc(char **argv)
{
	size_t size = strtoul(argv[0], NULL, 10);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return say(-1);
	memset(at, 1, size);
	return say(0);
}

static int
do_hold(char **argv)
{
	do_alloc(argv);
	fflush(stdout);
	return wait_for_ever();
}

/* spin MILLISECONDS: of wall clock; the CPU time that it got meanwhile. */
static int
do_spin(char **argv)
{
	long wanted = atol(argv[0]);
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000 +
	       (now.tv_nsec - begin.tv_nsec) / 1000000 < wanted);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	printf("%ld\n", (long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	return 0;
}

/* --- streams and terminals ------------------------------------------------ */

/* burst BYTES: that many on both output streams, turn and turn about. */
static int
do_burst(char **argv)
{
	long left = atol(argv[0]);
	static char block[CHUNK];

	memset(block, 'x', sizeof block);
	for (; left > 0; left -= CHUNK)
		for (int fd = 1; fd <= 2; fd++)
			if (write(fd, block, sizeof block) < 0)
				return 1;
	return 0;
}

/* tty: is it one, is it ours, how large. */
static int
do_tty(char **argv)
{
	struct winsize size = { 0 };

	(void)argv;
	ioctl(0, TIOCGWINSZ, &size);
	printf("isatty=%d%d%d session=%d foreground=%d rows=%u cols=%u\n",
	       isatty(0), isatty(1), isatty(2), getsid(0) == getpid(),
	       tcgetpgrp(0) == getpgrp(), size.ws_row, size.ws_col);
	return 0;
}

/* tiocsti: types into its own terminal. */
static int
do_tiocsti(char **argv)
{
	(void)argv;
	return say(ioctl(0, TIOCSTI, "x"));
}

/* ready WORD: says so, and waits until it is killed. */
static int
do_ready(char **argv)
{
	puts(argv[0]);
	fflush(stdout);
	return wait_for_ever();
}

/* --- calls that a container has no business with -------------------------- */

static int
do_setns(char **argv)
{
	return say(setns(open(argv[0], O_RDONLY), 0));
}

static int
do_unshare_user(char **argv)
{
	(void)argv;
	return say(unshare(CLONE_NEWUSER));
}

/* call NAME: with arguments that the kernel refuses in some other way. */
static int
do_call(char **argv)
{
	static const struct { const char *name; long number; } CALLS[] = {
		{ "add_key", SYS_add_key },
		{ "delete_module", SYS_delete_module },
		{ "io_uring_setup", SYS_io_uring_setup },
		{ "kexec_load", SYS_kexec_load },
		{ "open_by_handle_at", SYS_open_by_handle_at },
		{ "settimeofday", SYS_settimeofday },
		{ "swapon", SYS_swapon },
		{ "userfaultfd", SYS_userfaultfd },
	};

	for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++)
		if (strcmp(CALLS[i].name, argv[0]) == 0)
			return say(syscall(CALLS[i].number, -1, -1, -1, -1,
					   -1));
	return 2;
}

/* clock: whole seconds since "boot", as this process is told. */
static int
do_clock(char **argv)
{
	struct timespec now;

	(void)argv;
	clock_gettime(CLOCK_BOOTTIME, &now);
	printf("%ld\n", (long)now.tv_sec);
	return 0;
}

static const struct verb VERBS[] = {
	{ "alloc", 1, do_alloc },
	{ "burst", 1, do_burst },
	{ "call", 1, do_call },
	{ "clock", 0, do_clock },
	{ "cwd", 0, do_cwd },
	{ "deaf", 0, do_deaf },
	{ "fork", 1, do_fork },
	{ "hold", 1, do_hold },
	{ "init", 0, do_init },
	{ "mknod", 1, do_mknod },
	{ "mount", 2, do_mount },
	{ "open", 2, do_open },
	{ "ready", 1, do_ready },
	{ "reboot", 1, do_reboot },
	{ "remount-rw", 1, do_remount_rw },
	{ "setns", 1, do_setns },
	{ "spin", 1, do_spin },
	{ "tiocsti", 0, do_tiocsti },
	{ "tty", 0, do_tty },
	{ "umount", 1, do_umount },
	{ "unshare-user", 0, do_unshare_user },
	{ "write", 2, do_write },
};

static const struct verb *
find(const struct verb *verbs, unsigned count, const char *name, int arguments)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(name, verbs[i].name) == 0 &&
		    arguments == verbs[i].arguments)
			return &verbs[i];
	return NULL;
}

int
main(int argc, char **argv)
{
	const struct verb *verb = NULL;

	if (argc >= 2)
		verb = find(VERBS, sizeof VERBS / sizeof *VERBS, argv[1],
			    argc - 2);
	if (argc >= 2 && verb == NULL)
		verb = find(LIMIT_VERBS, LIMIT_VERB_COUNT, argv[1], argc - 2);
	if (argc >= 2 && verb == NULL)
		verb = find(NETWORK_VERBS, NETWORK_VERB_COUNT, argv[1],
			    argc - 2);
	if (verb != NULL)
		return verb->run(argv + 2);
	fprintf(stderr, "payload: no such verb, or not its arguments\n");
	return 2;
}
