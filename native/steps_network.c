/* The step that makes networks: rtnetlink(7).
 *
 * The messages come as bytes from the plan. The kernel carries out a batch in
 * turn, within send(2), also what follows a refused message, and has answered
 * each when that returns: so one send, and then one receive for each. */
#define _GNU_SOURCE

#include "launcher.h"

#include <linux/netlink.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define RETRY_MS 1

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

/* Send all of it, with `fd` in its place. */
static int
send_batch(int to, const struct arg_netlink *arg, int fd)
{
	const struct blob *batch = arg->messages;
	unsigned char *bytes = (unsigned char *)(uintptr_t)batch->bytes;
	struct iovec parts[] = {
		{ .iov_base = bytes, .iov_len = batch->size },
		{ .iov_base = &fd, .iov_len = sizeof fd },
		{ .iov_base = bytes },
	};
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = 1 };

	if (fd >= 0) {
		if (arg->at < 0 || batch->size < sizeof fd ||
		    arg->at > batch->size - (int64_t)sizeof fd)
			return -EINVAL;
		parts[0].iov_len = (size_t)arg->at;
		parts[2].iov_base = bytes + arg->at + sizeof fd;
		parts[2].iov_len = batch->size - (size_t)arg->at - sizeof fd;
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

/* All answers are heard; the first refusal that is not ignored counts. */
static int
hear_all(int from, int messages, int64_t ignore, int *refused)
{
	int error, verdict, first = 0;

	for (int i = 0; i < messages; i++) {
		error = hear(from, &verdict);
		if (error < 0)
			return error;
		if (verdict == 0 || -verdict == ignore || first < 0)
			continue;
		first = verdict;
		*refused = i;
	}
	return first;
}

int
do_netlink(const struct arg_netlink *arg, struct state *st)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000 };
	int64_t patience_ms = arg->patience_ms;
	int netns = slot_fd(st, arg->ns), fd = slot_fd(st, arg->fd);
	int messages = count(arg->messages);
	int to, error;

	if (messages < 0)
		return messages;
	if ((netns < 0 && arg->ns >= 0) || (fd < 0 && arg->fd >= 0))
		return -EBADF;
	to = netns < 0 ? open_here() : open_in(netns);
	if (to < 0)
		return to;
	for (;; patience_ms -= RETRY_MS) {
		error = send_batch(to, arg, fd);
		if (error >= 0)
			error = hear_all(to, messages, patience_ms > 0 ? 0
					 : arg->ignore, &st->value);
		if (error != -ENODEV || patience_ms <= 0)
			break;
		nanosleep(&pause, NULL);
	}
	close(to);
	return error;
}
