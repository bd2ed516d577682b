/* The monitor: the keeper of a running instance.
 *
 * A small program that waits. Everything that can happen is an event on one of
 * a few descriptors, and what is done then stands in a table: the state of the
 * descriptor, times the event. No memory is allocated, and what the plan took
 * is given back, for there are as many monitors as instances.
 *
 * The protocol of its socket, SOCK_SEQPACKET, numbers as the machine has them:
 *
 *	request	op (1), zero (3), a (4), b (4)
 *	reply	0 or -errno (4), 1 running 2 stopping (4), pid of init as the
 *		host sees it (4), wait status (4)
 *
 *	1 STATUS
 *	2 PIDFD		the reply carries a descriptor of init
 *	3 SIGNAL	number a; b = 1: a stop, after which a reboot is not obeyed
 *	4 WAIT		the reply comes when all is over; -EBUSY: not undone
 *	5 CONSOLE	its status is the size of the log; from then on a stream:
 *			output as it comes; input as 'd' and bytes, or 'w', rows
 *			(2), columns (2)
 *	6 RESIZE	a rows, b columns
 *
 * A client that asks for anything else gets -EINVAL and is closed; so is one
 * on the console that does not keep up. */
#define _GNU_SOURCE

#include "monitor.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define CLIENTS 16
#define LOOK_AGAIN_MS 200	/* at a terminal that nobody has open */

struct request {
	uint8_t op;
	uint8_t zero[3];
	uint32_t a;
	uint32_t b;
};
_Static_assert(sizeof(struct request) == 12, "request");

struct reply {
	int32_t result;
	uint32_t state;
	int32_t pid;
	int32_t status;
};
_Static_assert(sizeof(struct reply) == 16, "reply");

enum op { STATUS = 1, PIDFD, SIGNAL, WAIT, OPEN_CONSOLE, RESIZE };

enum { RUNNING = 1, STOPPING = 2 };	/* reply.state */

/* The descriptors, by their place in `polls`. */
enum source { INIT, SIGNALS, LISTENER, CONSOLE, CLIENT,
	      SOURCES = CLIENT + CLIENTS };

/* The states that a descriptor can be in; the first are for ever. */
enum state_of { ENDING, TERMINATING, ACCEPTING, TERMINAL,
		ASKING, WAITING, STREAMING, STATES };

enum event { READABLE, WRITABLE, HANGUP, EVENTS };

static struct pollfd polls[SOURCES];
static uint8_t states[SOURCES];

static struct {
	uint32_t state;
	int32_t pid;
	int32_t status;		/* once it is known */
	bool ended;
} init = { .state = RUNNING };

/* --- clients ------------------------------------------------------------- */

static void
drop(unsigned source)
{
	close(polls[source].fd);
	polls[source].fd = -1;
}

static void
answer(unsigned source, int result, int fd)
{
	struct reply reply = { .result = result, .state = init.state,
			       .pid = init.pid, .status = init.status };

	send_message(polls[source].fd, &reply, sizeof reply, fd);
}

static void
on_accept(UNUSED unsigned source)
{
	int fd = accept4(polls[LISTENER].fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (unsigned i = CLIENT; i < SOURCES; i++) {
		if (polls[i].fd >= 0)
			continue;
		polls[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
		states[i] = ASKING;
		return;
	}
	close(fd);
}

/* Carry out what the client asks for: false where it is nothing we know. */
static bool
obey(unsigned source, const struct request *request)
{
	int result;

	switch (request->op) {
	case STATUS:
		answer(source, 0, -1);
		return true;
	case PIDFD:
		answer(source, 0, polls[INIT].fd);
		return true;
	case SIGNAL:
		if (request->b == 1)
			init.state = STOPPING;
		result = sys_pidfd_send_signal(polls[INIT].fd,
					       (int)request->a);
		answer(source, result, -1);
		return true;
	case WAIT:
		states[source] = WAITING;	/* see monitor_farewell */
		return true;
	case OPEN_CONSOLE:
		result = polls[CONSOLE].fd == -1 ? -ENOTTY : 0;
		if (result == 0)
			states[source] = STREAMING;
		init.status = console_log_size();
		answer(source, result, -1);
		init.status = 0;
		return true;
	case RESIZE:
		answer(source, console_resize(request->a, request->b), -1);
		return true;
	}
	return false;
}

static void
on_request(unsigned source)
{
	struct request request;
	ssize_t size = recv(polls[source].fd, &request, sizeof request,
			    MSG_TRUNC);

	if (size == sizeof request && obey(source, &request))
		return;
	if (size > 0)
		answer(source, -EINVAL, -1);
	drop(source);
}

/* --- the console --------------------------------------------------------- */

void
stream_output(const char *bytes, size_t size)
{
	for (unsigned i = CLIENT; i < SOURCES; i++)
		if (polls[i].fd >= 0 && states[i] == STREAMING &&
		    send(polls[i].fd, bytes, size, MSG_NOSIGNAL) < 0)
			drop(i);
}

static void
on_packet(unsigned source)
{
	static char packet[1 + CHUNK];
	uint16_t size[2];
	ssize_t length;

	if (console_has_input())
		return;
	length = recv(polls[source].fd, packet, sizeof packet, MSG_TRUNC);
	if (length >= 1 && length <= 1 + CHUNK && packet[0] == 'd') {
		console_give_input(packet + 1, (size_t)length - 1);
		return;
	}
	if (length == 5 && packet[0] == 'w') {
		memcpy(size, packet + 1, sizeof size);
		console_resize(size[0], size[1]);
		return;
	}
	drop(source);
}

static void
on_output(UNUSED unsigned source)
{
	/* ~fd: poll(2) skips it, and it is not forgotten. */
	if (console_take_output() < 0)
		polls[CONSOLE].fd = ~polls[CONSOLE].fd;
}

static void
on_input(UNUSED unsigned source)
{
	console_flush_input();
}

static void
on_hangup(UNUSED unsigned source)
{
	polls[CONSOLE].fd = ~polls[CONSOLE].fd;
}

/* --- init ---------------------------------------------------------------- */

static void
on_end(UNUSED unsigned source)
{
	init.ended = true;
}

/* SIGTERM, from the host that shuts down: init cannot ignore this. */
static void
on_terminate(unsigned source)
{
	struct signalfd_siginfo info;

	if (read(polls[source].fd, &info, sizeof info) < 0)
		return;
	init.state = STOPPING;
	sys_pidfd_send_signal(polls[INIT].fd, SIGKILL);
}

/* --- the table ----------------------------------------------------------- */

typedef void reaction(unsigned source);

static reaction *const REACT[STATES][EVENTS] = {
	/*		   READABLE	 WRITABLE  HANGUP */
	[ENDING]	= { on_end,	  NULL,	    on_end },
	[TERMINATING]	= { on_terminate, NULL,	    NULL },
	[ACCEPTING]	= { on_accept,	  NULL,	    NULL },
	[TERMINAL]	= { on_output,	  on_input, on_hangup },
	[ASKING]	= { on_request,	  NULL,	    drop },
	[WAITING]	= { drop,	  NULL,	    drop },
	[STREAMING]	= { on_packet,	  NULL,	    drop },
};

/* A hang-up counts when all that was sent before it has been read. */
static void
react(unsigned source)
{
	short events = polls[source].revents;
	reaction *const *row = REACT[states[source]];

	if ((events & POLLOUT) != 0 && row[WRITABLE] != NULL)
		row[WRITABLE](source);
	if ((events & POLLIN) != 0)
		row[READABLE](source);
	else if ((events & (POLLHUP | POLLERR)) != 0 && row[HANGUP] != NULL)
		row[HANGUP](source);
}

/* Clients are not read while the terminal has not taken their input. */
static void
choose_events(void)
{
	bool full = console_has_input();

	polls[CONSOLE].events = full ? POLLIN | POLLOUT : POLLIN;
	for (unsigned i = CLIENT; i < SOURCES; i++)
		polls[i].events = full && states[i] == STREAMING ? 0 : POLLIN;
}

static void
begin(enum source source, enum state_of state, int fd)
{
	polls[source] = (struct pollfd){ .fd = fd, .events = POLLIN };
	states[source] = (uint8_t)state;
}

static int
open_signals(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

void
monitor_watch(pid_t pid, int pidfd, int listener, int console)
{
	bool away;

	init.pid = pid;
	begin(INIT, ENDING, pidfd);
	begin(SIGNALS, TERMINATING, open_signals());
	begin(LISTENER, ACCEPTING, listener);
	begin(CONSOLE, TERMINAL, console);
	for (unsigned i = CLIENT; i < SOURCES; i++)
		polls[i].fd = -1;
	while (!init.ended) {
		choose_events();
		away = polls[CONSOLE].fd < -1;
		if (poll(polls, SOURCES, away ? LOOK_AGAIN_MS : -1) < 0)
			continue;
		if (away)
			polls[CONSOLE].fd = ~polls[CONSOLE].fd;
		for (unsigned i = 0; i < SOURCES; i++)
			if (polls[i].fd >= 0 && polls[i].revents != 0)
				react(i);
	}
	while (console >= 0 && console_take_output() > 0)
		continue;
	/* From here on nobody is listening: who connects is told so. */
	if (listener >= 0)
		drop(LISTENER);
}

bool
monitor_is_stopping(void)
{
	return init.state == STOPPING;
}

void
monitor_farewell(int result, int status)
{
	init.status = status;
	for (unsigned i = CLIENT; i < SOURCES; i++)
		if (polls[i].fd >= 0 && states[i] == WAITING)
			answer(i, result, -1);
}
