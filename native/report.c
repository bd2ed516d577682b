/* Reports: what happened, as 24-byte messages to the process that asked.
 *
 *	0	1	type
 *	1	1	0 host, 1 inside
 *	2	2	zero
 *	4	4	index of the step
 *	8	4	errno, or 0
 *	12	4	value: what it is depends on the type
 *	16	8	CLOCK_MONOTONIC, nanoseconds
 *
 * Numbers, no words: the sentence is made where the language is known. That
 * nobody reads them any more is no reason to fail. */
#define _GNU_SOURCE

#include "launcher.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct record {
	uint8_t type;
	uint8_t where;
	uint16_t zero;
	uint32_t step;
	int32_t error;
	int32_t value;
	uint64_t time_ns;
};
_Static_assert(sizeof(struct record) == 24, "report");

static int reader = REPORT_FD;

int
send_message(int socket, const void *message, size_t size, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = {
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	} };
	struct iovec part = { .iov_base = (void *)(uintptr_t)message,
			      .iov_len = size };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
		packet.msg_control = &control;
		packet.msg_controllen = sizeof control;
	}
	return outcome(sendmsg(socket, &packet, MSG_NOSIGNAL));
}

static int
send_report(enum report type, uint8_t where, uint32_t step, int error,
	    int value, int fd)
{
	struct record record = { .type = (uint8_t)type, .where = where,
				 .step = step, .error = error,
				 .value = value };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	record.time_ns = (uint64_t)now.tv_sec * 1000000000 +
			 (uint64_t)now.tv_nsec;
	return send_message(reader, &record, sizeof record, fd);
}

void
report(enum report type, uint8_t where, uint32_t step, int error, int value)
{
	send_report(type, where, step, error, value, -1);
}

/* With `fd`, unless that is -1: what a program of the host has said. */
void
report_failed(const struct failure *failure, int fd)
{
	send_report(REPORT_FAILED, failure->where, failure->step,
		    failure->error, failure->value, fd);
}

int
report_fd(uint8_t where, uint32_t step, int fd)
{
	return send_report(REPORT_ATTACHED, where, step, 0, 0, fd);
}

void
report_close(void)
{
	close(reader);
	reader = -1;	/* the number will be somebody else's */
}
