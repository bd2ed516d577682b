/* Steps on descriptors and terminals. */
#define _GNU_SOURCE

#include "launcher.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int
do_report_fd(const struct arg_report_fd *arg, struct state *st)
{
	int fd = slot_fd(st, arg->fd);

	return fd < 0 ? -EBADF : report_fd((uint8_t)st->where, st->step, fd);
}

/* pty(7). The slave comes from the master, TIOCGPTPEER (Linux 4.13), and not
 * from a name: /dev/pts of a guest is the guest's, and may hold a link to a
 * file of the host (CVE-2025-52565). */
int
do_open_pty(const struct arg_open_pty *arg, struct state *st)
{
	int slave, master, unlocked = 0;
	int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
	int pts = open_in_root(slot_dir(st, arg->root), arg->path,
			       CREATE_NOTHING, 0);

	if (pts < 0)
		return pts;
	master = outcome(openat(pts, "ptmx", flags | O_NOFOLLOW));
	close(pts);
	if (master < 0)
		return master;
	slave = outcome(ioctl(master, TIOCSPTLCK, &unlocked));
	if (slave >= 0)
		slave = outcome(ioctl(master, TIOCGPTPEER, flags));
	if (slave < 0) {
		close(master);
		return slave;
	}
	slot_fill(st, arg->master, master);
	return slot_fill(st, arg->slave, slave);
}

int
do_set_winsize(const struct arg_set_winsize *arg, struct state *st)
{
	struct winsize size = { .ws_row = (unsigned short)arg->rows,
				.ws_col = (unsigned short)arg->cols };

	return outcome(ioctl(slot_fd(st, arg->fd), TIOCSWINSZ, &size));
}

int
do_set_ctty(const struct arg_set_ctty *arg, struct state *st)
{
	return outcome(ioctl(slot_fd(st, arg->fd), TIOCSCTTY, 0));
}

/* dup2(2), onto standard input, output or error: all others are ours. */
int
do_dup2(const struct arg_dup2 *arg, struct state *st)
{
	if (arg->to < 0 || arg->to > 2)
		return -EINVAL;
	return outcome(dup2(slot_fd(st, arg->fd), (int)arg->to));
}

/* A socket's name has 107 characters, a run directory may have more: it is
 * named through its descriptor. */
static int
socket_name(const struct arg_listen *arg, struct state *st,
	    struct sockaddr_un *name)
{
	char digits[NUMBER_SIZE];
	int dir = slot_fd(st, arg->dir);

	name->sun_family = AF_UNIX;
	if (dir < 0)
		return JOIN(name->sun_path, arg->path);
	return JOIN(name->sun_path, "/proc/self/fd/",
		    number_text(digits, (uint64_t)dir, 10), "/", arg->path);
}

/* unix(7). One left behind by a monitor that was killed is in the way; that
 * nobody listens there any more is known from the plan's lock. */
int
do_listen(const struct arg_listen *arg, struct state *st)
{
	struct sockaddr_un name = { 0 };
	int error = socket_name(arg, st, &name);
	int fd;

	if (error < 0)
		return error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(name.sun_path);
	umask(0177);	/* the file appears with mode 0600 */
	error = outcome(bind(fd, (struct sockaddr *)&name, sizeof name));
	umask(0);
	if (error >= 0)
		error = outcome(listen(fd, 16));
	if (error >= 0)
		return slot_fill(st, arg->out, fd);
	close(fd);
	return error;
}
