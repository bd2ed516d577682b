/* The baton: whose turn it is.
 *
 * The steps run strictly in the order of the list, though two processes carry
 * them out. Where the order changes sides, the one that runs hands the baton
 * over and waits until it comes back. Both know the plan, so a message needs
 * no more than the index of the next step.
 *
 * The same socket says how it ended. Each process holds one end and nobody
 * else holds any, so the end of file means that the other one is gone:
 *
 *	the launcher died	the new process dies with it
 *	the new process died	or its exec succeeded and closed the end;
 *				the shared page says which of the two */
#define _GNU_SOURCE

#include "launcher.h"

#include <string.h>
#include <sys/socket.h>

enum turn { TURN_STEP, TURN_FAILED, TURN_FD };

struct message {
	uint32_t turn;
	uint32_t step;
	int32_t error;
	int32_t value;
};

int
baton_make(struct state *st, int *inside)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	st->baton = ends[0];
	*inside = ends[1];
	return 0;
}

/* --- in the new process -------------------------------------------------- */

/* Plain read(2) and write(2): the last messages are sent after the payload's
 * system call filter was loaded, and these two pass every sensible one. A
 * SIGPIPE that ends this process is as good as the end of file. */
static void
say(struct state *st, enum turn turn, int error)
{
	struct message message = { .turn = turn, .step = st->step,
				   .error = error, .value = st->value };

	if (write(st->baton, &message, sizeof message) != sizeof message)
		_exit(1);
}

static uint32_t
await_turn(struct state *st)
{
	struct message message;

	if (read(st->baton, &message, sizeof message) != sizeof message)
		_exit(1);
	return message.step;
}

/* Who it is at first: root of the host, in the namespaces of the clone, with
 * nothing in them set up. The steps make of it what the payload is to be. */
_Noreturn void
run_inside(struct state *st)
{
	const struct plan *plan = st->plan;
	int error;

	for (;;) {
		for (st->step = await_turn(st); st->step < plan->nsteps &&
		     plan->steps[st->step].where == INSIDE; st->step++) {
			*st->progress = st->step;
			error = run_step(st);
			if (error < 0) {
				say(st, TURN_FAILED, -error);
				_exit(1);
			}
		}
		say(st, TURN_STEP, 0);
	}
}

/* The launcher keeps it until it comes to the step that takes it. */
int
do_send_fd(const struct arg_send_fd *arg, struct state *st)
{
	struct message message = { .turn = TURN_FD, .step = st->step };
	int fd = slot_fd(st, arg->fd);

	if (fd < 0)
		return -EBADF;
	return send_message(st->baton, &message, sizeof message, fd);
}

/* --- in the launcher ----------------------------------------------------- */

/* The kernel leaves it out where there is no room for one more. */
static int
attached_fd(struct msghdr *packet)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(packet);
	int fd;

	if (head == NULL)
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(head), sizeof fd);
	return fd;
}

/* The next message, or false at the end of file. Descriptors that come before
 * it are put into the mail: the decoder has counted them. */
static bool
hear(struct state *st, struct message *message)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = message,
			      .iov_len = sizeof *message };
	struct msghdr packet;

	for (;;) {
		packet = (struct msghdr){
			.msg_iov = &part, .msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof control,
		};
		if (recvmsg(st->baton, &packet, MSG_CMSG_CLOEXEC) !=
		    sizeof *message)
			return false;
		if (message->turn != TURN_FD)
			return true;
		st->mail[st->mail_tail++] = attached_fd(&packet);
	}
}

int
do_recv_fd(const struct arg_recv_fd *arg, struct state *st)
{
	if (st->mail_head == st->mail_tail)
		return -ENOMSG;
	return slot_fill(st, arg->out, st->mail[st->mail_head++]);
}

/* The end of file. exec(2) has closed the other end, or the kernel has while
 * it took the process down. */
static bool
executed(struct state *st, struct failure *failure)
{
	uint32_t step = *st->progress;

	if (step == PROGRESS_EXEC) {
		st->executed = true;
		while (st->plan->steps[st->step++].kind != KIND_EXEC)
			continue;
		report(REPORT_STARTED, HOST, st->step - 1, 0, st->child);
		return true;
	}
	*failure = (struct failure){ .where = INSIDE, .step = step,
				     .error = ECHILD, .value = reap(st) };
	return false;
}

bool
baton_pass(struct state *st, struct failure *failure)
{
	struct message message = { .turn = TURN_STEP, .step = st->step };

	*st->progress = st->step;
	/* To a dead process: the end of file below tells more. */
	send_message(st->baton, &message, sizeof message, -1);
	if (!hear(st, &message))
		return executed(st, failure);
	st->step = message.step;
	if (message.turn == TURN_STEP)
		return true;
	*failure = (struct failure){ .where = INSIDE, .step = message.step,
				     .error = message.error,
				     .value = message.value };
	return false;
}
