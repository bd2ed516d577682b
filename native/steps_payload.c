/* Steps on what the payload finds: names, limits, interfaces. */
#define _GNU_SOURCE

#include "launcher.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

int
do_sethostname(const struct arg_sethostname *arg, UNUSED struct state *st)
{
	return outcome(sethostname(arg->name, strlen(arg->name)));
}

int
do_setdomainname(const struct arg_setdomainname *arg, UNUSED struct state *st)
{
	return outcome(setdomainname(arg->name, strlen(arg->name)));
}

static int
set_limit(int resource, uint64_t soft, uint64_t hard)
{
	const uint64_t limit[] = { soft, hard };

	return outcome(syscall(SYS_prlimit64, 0, resource, limit, NULL));
}

/* prlimit(2). Without CAP_SYS_RESOURCE no hard limit can be raised: as much
 * of the soft one as there is room for is set all the same, and the plan says
 * whether that is a failure. */
int
do_setrlimit(const struct arg_setrlimit *arg, UNUSED struct state *st)
{
	uint64_t soft = (uint64_t)arg->soft, hard = (uint64_t)arg->hard;
	int resource = (int)arg->resource;
	uint64_t now[2];

	if (set_limit(resource, soft, hard) >= 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	if (syscall(SYS_prlimit64, 0, resource, NULL, now) == 0)
		set_limit(resource, soft < now[1] ? soft : now[1], now[1]);
	return -EPERM;
}

/* prlimit(2), of any process or, for 0, of the new one: inside its user
 * namespace that one could not raise a hard limit, root of the host can. The
 * process may end at any moment: what has ended needs none. */
int
do_prlimit(const struct arg_prlimit *arg, struct state *st)
{
	const uint64_t limit[] = { (uint64_t)arg->soft, (uint64_t)arg->hard };
	int64_t pid = arg->pid != 0 ? arg->pid : st->child;
	int error;

	if (pid <= 0 || pid > INT32_MAX)	/* 0 would be ours */
		return -EINVAL;
	error = outcome(syscall(SYS_prlimit64, pid, arg->resource, limit,
				NULL));
	return error == -ESRCH ? 0 : error;
}

/* netdevice(7): for the loopback interface, which a new network namespace has
 * and nobody has brought up. */
int
do_link_up(const struct arg_link_up *arg, UNUSED struct state *st)
{
	struct ifreq request = { 0 };
	int error, socket_fd;

	if (JOIN(request.ifr_name, arg->name) < 0)
		return -ENODEV;
	socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (socket_fd < 0)
		return -errno;
	error = outcome(ioctl(socket_fd, SIOCGIFFLAGS, &request));
	if (error >= 0) {
		request.ifr_flags |= IFF_UP;
		error = outcome(ioctl(socket_fd, SIOCSIFFLAGS, &request));
	}
	close(socket_fd);
	return error;
}

/* Kept until exec: until then the modes in the plan are exact. */
int
do_umask(const struct arg_umask *arg, struct state *st)
{
	st->umask = (mode_t)arg->mask;
	return 0;
}
