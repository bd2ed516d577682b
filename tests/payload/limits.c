/* Verbs that reach for more than they are given, and say how far they came. */
#define _GNU_SOURCE

#include "payload.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE (2UL << 20)
#define SPAN (32UL << 20)	/* of a file that is read or written */

static long
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* fork-error N: what the first of N children that there could not be was
 * refused with. */
static int
do_fork_error(char **argv)
{
	int ends[2], left = atoi(argv[0]);
	pid_t pid = 0;
	char end;

	if (pipe(ends) < 0)
		return say(-1);
	while (left-- > 0 && (pid = fork()) >= 0)
		if (pid == 0) {
			close(ends[1]);
			_exit(read(ends[0], &end, 1) != 0);
		}
	return say(pid);
}

/* cpus: those that it may run on, such as 0,1. */
static int
do_cpus(char **argv)
{
	cpu_set_t set;
	const char *between = "";

	(void)argv;
	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return say(-1);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set)) {
			printf("%s%u", between, cpu);
			between = ",";
		}
	puts("");
	return 0;
}

static sigjmp_buf refused_page;

static void
on_bus_error(int signo)
{
	siglongjmp(refused_page, signo);
}

/* huge N: how many of N huge pages of 2 MiB it could have. The kernel refuses
 * one when it is asked for, or with SIGBUS when it is touched. */
static int
do_huge(char **argv)
{
	int wanted = atoi(argv[0]);
	volatile int touched = 0;

	signal(SIGBUS, on_bus_error);
	while (touched < wanted && sigsetjmp(refused_page, 1) == 0) {
		char *at = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
				-1, 0);

		if (at == MAP_FAILED)
			break;
		*at = 1;
		touched++;
	}
	printf("%d\n", touched);
	return 0;
}

/* node PATH b|c MAJOR MINOR */
static int
do_node(char **argv)
{
	mode_t type = argv[1][0] == 'b' ? S_IFBLK : S_IFCHR;
	dev_t number = makedev((unsigned)atoi(argv[2]),
			       (unsigned)atoi(argv[3]));

	return say(mknod(argv[0], type | 0600, number));
}

/* rlimit NUMBER: the soft and the hard one, as prlimit(2) has them; -1 is
 * "unlimited". */
static int
do_rlimit(char **argv)
{
	unsigned long long limit[2];	/* struct rlimit64 */

	if (syscall(SYS_prlimit64, 0, atoi(argv[0]), NULL, limit) < 0)
		return say(-1);
	printf("%lld %lld\n", (long long)limit[0], (long long)limit[1]);
	return 0;
}

/* transfer PATH r|w BLOCK MILLISECONDS: bytes and milliseconds that it took,
 * around the page cache. */
static int
do_transfer(char **argv)
{
	int is_write = argv[1][0] == 'w', error;
	size_t block = strtoul(argv[2], NULL, 10);
	long begin, wanted = atol(argv[3]), bytes = 0;
	int fd = open(argv[0], O_DIRECT | (is_write ? O_WRONLY : O_RDONLY));
	void *buffer;

	if (fd < 0)
		return say(-1);
	if ((error = posix_memalign(&buffer, 4096, block)) != 0) {
		errno = error;
		return say(-1);
	}
	memset(buffer, 'x', block);
	begin = milliseconds();
	while (milliseconds() - begin < wanted) {
		off_t at = bytes % (long)SPAN;
		ssize_t done = is_write ? pwrite(fd, buffer, block, at)
					: pread(fd, buffer, block, at);

		if (done <= 0)
			return say(-1);
		bytes += done;
	}
	printf("%ld %ld\n", bytes, milliseconds() - begin);
	return 0;
}

/* --- what never stops by itself ------------------------------------------- */

/* burn N: as many processes, none of which ever sleeps. */
static int
do_burn(char **argv)
{
	volatile int is_burning = 1;

	say(0);
	fflush(stdout);
	for (int left = atoi(argv[0]); left > 1; left--) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			break;
		}
	}
	while (is_burning)
		;
	return 0;
}

/* fork-loop: every process makes others, for ever. */
static int
do_fork_loop(char **argv)
{
	(void)argv;
	puts("ok");
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	for (;;)
		fork();
	return 0;
}

/* alloc-loop: a child takes memory until it is killed; then the next one. */
static int
do_alloc_loop(char **argv)
{
	(void)argv;
	puts("ok");
	fflush(stdout);
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			while (mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
				    -1, 0) != MAP_FAILED)
				;
		if (pid == 0)
			_exit(1);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return 0;
}

/* write-loop PATH: over the same bytes, and each block to the disk. */
static int
do_write_loop(char **argv)
{
	static char block[1 << 20];
	int fd = open(argv[0], O_WRONLY | O_CREAT | O_DSYNC, 0600);

	if (fd < 0)
		return say(-1);
	say(0);
	fflush(stdout);
	for (unsigned long at = 0;; at = (at + sizeof block) % SPAN)
		if (pwrite(fd, block, sizeof block, (off_t)at) < 0)
			return 1;
	return 0;
}

const struct verb LIMIT_VERBS[] = {
	{ "alloc-loop", 0, do_alloc_loop },
	{ "burn", 1, do_burn },
	{ "cpus", 0, do_cpus },
	{ "fork-error", 1, do_fork_error },
	{ "fork-loop", 0, do_fork_loop },
	{ "huge", 1, do_huge },
	{ "node", 4, do_node },
	{ "rlimit", 1, do_rlimit },
	{ "transfer", 4, do_transfer },
	{ "write-loop", 1, do_write_loop },
};

const unsigned LIMIT_VERB_COUNT = sizeof LIMIT_VERBS / sizeof *LIMIT_VERBS;
