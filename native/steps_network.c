/* The steps that make networks: rtnetlink(7).
 *
 * The messages come as bytes from the plan. The kernel carries out a batch in
 * turn, within send(2), also what follows a refused message, and has answered
 * each when that returns: so one send, and then one receive for each. */
#define _GNU_SOURCE

#include "launcher.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define RETRY_MS 1
#define IGNORE_MISSING -1	/* MISSING in plan/steps.py */

/* Without NETLINK_CAP_ACK (Linux 4.3) the refused message comes back whole. */
static int
open_here(void)
{
	int fd = outcome(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
				NETLINK_ROUTE));
	int on = 1;

	if (fd >= 0)
		setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	return fd;
}

/* A socket stays in the namespace where it was opened. The way back leads to
 * where this process has just been; should it fail nevertheless, nothing may
 * be done here any more. */
static int
open_in(int netns)
{
	int fd, home = sys_open("/proc/self/ns/net", O_RDONLY);

	if (home < 0)
		return home;
	fd = outcome(setns(netns, CLONE_NEWNET));
	if (fd >= 0) {
		fd = open_here();
		if (setns(home, CLONE_NEWNET) < 0)
			_exit(1);
	}
	close(home);
	return fd;
}

/* What is sent, and how refusals are taken. */
struct talk {
	const unsigned char *messages;
	size_t size;
	int64_t at;		/* where in them `fd` goes, or -1 for no fd */
	int fd;			/* or an index */
	int64_t ignore;
	int64_t patience_ms;
	int count;
};

/* How many messages there are, or -EINVAL where a length cannot be. */
static int
count(const struct blob *messages)
{
	struct nlmsghdr head;
	uint32_t at = 0;
	int found = 0;

	for (; at < messages->size; at += NLMSG_ALIGN(head.nlmsg_len)) {
		if (messages->size - at < sizeof head)
			return -EINVAL;
		memcpy(&head, messages->bytes + at, sizeof head);
		if (head.nlmsg_len < sizeof head ||
		    head.nlmsg_len > messages->size - at)
			return -EINVAL;
		found++;
	}
	return found;
}

/* Send all of it, with the descriptor in its place. */
static int
send_batch(int to, const struct talk *talk)
{
	size_t size = talk->size, at = (size_t)talk->at;
	unsigned char *bytes = (unsigned char *)(uintptr_t)talk->messages;
	int fd = talk->fd;
	struct iovec parts[] = {
		{ .iov_base = bytes, .iov_len = size },
		{ .iov_base = &fd, .iov_len = sizeof fd },
		{ .iov_base = bytes },
	};
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = 1 };

	if (talk->at >= 0) {
		if (size < sizeof fd || at > size - sizeof fd)
			return -EINVAL;
		parts[0].iov_len = at;
		parts[2].iov_base = bytes + at + sizeof fd;
		parts[2].iov_len = size - at - sizeof fd;
		packet.msg_iovlen = 3;
	}
	return outcome(sendmsg(to, &packet, 0));
}

/* The next answer: 0 or -errno as the kernel says it, into *verdict. */
static int
hear(int from, int *verdict)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr body;
		char rest[256];
	} answer;
	ssize_t size = recv(from, &answer, sizeof answer, MSG_DONTWAIT);

	if (size < 0)
		return -errno;
	if ((size_t)size < sizeof answer.head + sizeof answer.body ||
	    answer.head.nlmsg_type != NLMSG_ERROR)
		return -EBADMSG;
	*verdict = answer.body.error;
	return 0;
}

/* The kernel's words for "not there": of an interface, of a proxy or a queue,
 * of a route, of an address. */
static bool
is_ignored(int verdict, int64_t ignore)
{
	if (ignore != IGNORE_MISSING)
		return -verdict == ignore;
	return verdict == -ENODEV || verdict == -ENOENT ||
	       verdict == -ESRCH || verdict == -EADDRNOTAVAIL;
}

/* All answers are heard; the first refusal that is not ignored counts. */
static int
hear_all(int from, const struct talk *talk, int64_t ignore, int *refused)
{
	int error, verdict, first = 0;

	for (int i = 0; i < talk->count; i++) {
		error = hear(from, &verdict);
		if (error < 0)
			return error;
		if (verdict == 0 || first < 0 || is_ignored(verdict, ignore))
			continue;
		first = verdict;
		*refused = i;
	}
	return first;
}

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* By the clock: on a busy machine a pause takes many times longer. */
static void
pause_a_moment(void)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000 };

	nanosleep(&pause, NULL);
}

/* Closes `to`, which may be an error. */
static int
converse(int to, const struct talk *talk, int *refused)
{
	const int64_t until = now_ms() + talk->patience_ms;
	bool is_last;
	int error = to;

	while (to >= 0) {
		is_last = now_ms() >= until;
		error = send_batch(to, talk);
		if (error >= 0)
			error = hear_all(to, talk, is_last ? talk->ignore : 0,
					 refused);
		if (error != -ENODEV || is_last)
			break;
		pause_a_moment();
	}
	if (to >= 0)
		close(to);
	return error;
}

int
do_netlink(const struct arg_netlink *arg, struct state *st)
{
	struct talk talk = {
		.messages = arg->messages->bytes,
		.size = arg->messages->size,
		.at = arg->fd >= 0 ? arg->at : -1,
		.fd = slot_fd(st, arg->fd),
		.ignore = arg->ignore,
		.patience_ms = arg->patience_ms,
		.count = count(arg->messages),
	};
	int netns = slot_fd(st, arg->ns);

	if (talk.count < 0 || (arg->fd >= 0 && arg->at < 0))
		return -EINVAL;
	if ((arg->ns >= 0 && netns < 0) || (arg->fd >= 0 && talk.fd < 0))
		return -EBADF;
	return converse(arg->ns < 0 ? open_here() : open_in(netns), &talk,
			&st->value);
}

/* By a file and not by a slot, since the undo steps have none. A file on which
 * no namespace is mounted any more is what setns(2) calls EINVAL. */
int
do_netlink_in(const struct arg_netlink_in *arg, struct state *st)
{
	struct talk talk = {
		.messages = arg->messages->bytes,
		.size = arg->messages->size,
		.at = arg->at,
		.ignore = arg->ignore,
		.count = count(arg->messages),
	};
	int to, netns, error;

	if (talk.count < 0)
		return -EINVAL;
	netns = sys_open(arg->path, O_RDONLY);
	if (netns < 0)
		return netns == -ENOENT ? 0 : netns;
	to = open_in(netns);
	close(netns);
	if (to == -EINVAL)
		return 0;
	talk.fd = sys_open("/proc/self/ns/net", O_RDONLY);
	error = talk.fd < 0 ? talk.fd : converse(to, &talk, &st->value);
	if (talk.fd >= 0)
		close(talk.fd);
	return error;
}

/* The index of an interface by any of its names. */
static int
index_of(const char *name)
{
	struct ifreq request = { 0 };
	int error, fd;

	if (JOIN(request.ifr_name, name) < 0)
		return -ENAMETOOLONG;
	fd = outcome(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	error = outcome(ioctl(fd, SIOCGIFINDEX, &request));
	close(fd);
	return error < 0 ? error : request.ifr_ifindex;
}

/* In the messages about interfaces and in those about addresses the index is
 * at the same place. One at a time: they are as good as independent, and an
 * address that cannot be had again is no reason to go without the others. */
int
do_netlink_on(const struct arg_netlink_on *arg, struct state *st)
{
	_Static_assert(offsetof(struct ifinfomsg, ifi_index) ==
		       offsetof(struct ifaddrmsg, ifa_index), "index");
	struct talk talk = {
		.messages = arg->messages->bytes,
		.at = NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index),
		.ignore = arg->ignore,
		.count = 1,
	};
	int messages = count(arg->messages), first = 0, error, refused;
	struct nlmsghdr head;

	if (messages < 0)
		return -EINVAL;
	talk.fd = index_of(arg->name);
	if (talk.fd < 0)
		return talk.fd == -ENODEV ? 0 : talk.fd;
	for (int i = 0; i < messages; i++) {
		memcpy(&head, talk.messages, sizeof head);
		talk.size = head.nlmsg_len;
		error = converse(open_here(), &talk, &refused);
		if (error < 0 && first == 0) {
			first = error;
			st->value = i;
		}
		talk.messages += NLMSG_ALIGN(head.nlmsg_len);
	}
	return first;
}

/* netdevice(7), because rtnetlink renames by the index alone, and nobody knows
 * which one an interface has after it has come back from a namespace. */
int
do_rename_link(const struct arg_rename_link *arg, UNUSED struct state *st)
{
	const int64_t until = now_ms() + arg->patience_ms;
	struct ifreq request = { 0 };
	int error, fd;

	if (JOIN(request.ifr_name, arg->name) < 0 ||
	    JOIN(request.ifr_newname, arg->to) < 0)
		return -ENAMETOOLONG;
	fd = outcome(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	for (;;) {
		error = outcome(ioctl(fd, SIOCSIFNAME, &request));
		if (error != -ENODEV || now_ms() >= until)
			break;
		pause_a_moment();
	}
	close(fd);
	return error == -ENODEV ? 0 : error;
}
