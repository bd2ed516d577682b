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
 *	3 SIGNAL	number a; b = 1: a stop, after which no reboot is
 *			obeyed
 *	4 WAIT		the reply comes when all is over; -EBUSY: not undone
 *	5 CONSOLE	the status is the size of the log; from then on it is
 *			a stream: output as it comes; input as 'd' and bytes,
 *			or 'w', rows (2), columns (2)
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
#include <time.h>

#define CLIENTS 64
#define LOOK_AGAIN_MS 200	/* at a terminal that nobody has open */
/* How long the alarm is not heard after it has been answered, and after it was
 * for nothing. What comes meanwhile is heard afterwards. */
#define ANSWERED_MS 1000
#define FOR_NOTHING_MS 100

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

/* Where events come from: the place in the two arrays below. */
enum { INIT, SIGNALS, LISTENER, CONSOLE, ALARM, CLIENT,
       SOURCES = CLIENT + CLIENTS };

/* The states that a source can be in; all but a client's are for ever. */
enum source_state { RUNS, SIGNALLED, LISTENS, TERMINAL, RINGS,
		    ASKS, WAITS, STREAMS, SOURCE_STATES };

enum event { READABLE, WRITABLE, HANGUP, EVENTS };

static struct {
	int fd;			/* -1: none */
	uint8_t state;
} sources[SOURCES];

static struct pollfd polls[SOURCES];

static struct {
	uint32_t state;
	int32_t pid;
	bool ended;
	bool killed;		/* all of them are to be, not init alone */
} init = { .state = RUNNING };

/* The terminal's last user has closed it: there may be another. */
static bool console_is_away;

static struct {
	struct state *st;
	short event;		/* that poll(2) is to wait for */
	int64_t deaf_until_ms;	/* 0: it is heard */
} alarm_bell;

/* --- clients ------------------------------------------------------------- */

static void
begin(unsigned source, enum source_state state, int fd)
{
	sources[source].fd = fd;
	sources[source].state = (uint8_t)state;
}

static void
drop(unsigned source)
{
	close(sources[source].fd);
	sources[source].fd = -1;
}

static void
answer(unsigned source, int result, int status, int fd)
{
	struct reply reply = { .result = result, .state = init.state,
			       .pid = init.pid, .status = status };

	send_message(sources[source].fd, &reply, sizeof reply, fd);
}

static void
on_connect(unsigned listener)
{
	unsigned client = CLIENT;
	int fd = accept4(sources[listener].fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	while (client < SOURCES && sources[client].fd >= 0)
		client++;
	if (client < SOURCES)
		begin(client, ASKS, fd);
	else
		close(fd);
}

/* Carry out what the client asks for: false where it is nothing we know. */
static bool
obey(unsigned client, const struct request *request)
{
	int result;

	switch (request->op) {
	case STATUS:
		answer(client, 0, 0, -1);
		return true;
	case PIDFD:
		answer(client, 0, 0, sources[INIT].fd);
		return true;
	case SIGNAL:
		if (request->b == 1)
			init.state = STOPPING;
		result = sys_pidfd_send_signal(sources[INIT].fd,
					       (int)request->a);
		answer(client, result, 0, -1);
		return true;
	case WAIT:
		sources[client].state = WAITS;	/* see monitor_farewell */
		return true;
	case OPEN_CONSOLE:
		result = sources[CONSOLE].fd < 0 ? -ENOTTY : 0;
		answer(client, result, console_log_size(), -1);
		if (result == 0)
			sources[client].state = STREAMS;
		return true;
	case RESIZE:
		result = console_resize(request->a, request->b);
		answer(client, result, 0, -1);
		return true;
	}
	return false;
}

static void
on_request(unsigned client)
{
	struct request request;
	ssize_t size = recv(sources[client].fd, &request, sizeof request,
			    MSG_TRUNC);

	if (size == sizeof request && obey(client, &request))
		return;
	if (size > 0)
		answer(client, -EINVAL, 0, -1);
	drop(client);
}

/* --- the console --------------------------------------------------------- */

void
stream_output(const char *bytes, size_t size)
{
	for (unsigned i = CLIENT; i < SOURCES; i++)
		if (sources[i].fd >= 0 && sources[i].state == STREAMS &&
		    send(sources[i].fd, bytes, size, MSG_NOSIGNAL) < 0)
			drop(i);
}

static void
on_packet(unsigned client)
{
	static char packet[1 + CHUNK];
	uint16_t size[2];
	ssize_t length;

	if (console_has_input())	/* another's, of this very round */
		return;
	length = recv(sources[client].fd, packet, sizeof packet, MSG_TRUNC);
	if (length >= 1 && length <= 1 + CHUNK && packet[0] == 'd') {
		console_give_input(packet + 1, (size_t)length - 1);
		return;
	}
	if (length == 5 && packet[0] == 'w') {
		memcpy(size, packet + 1, sizeof size);
		console_resize(size[0], size[1]);
		return;
	}
	drop(client);
}

static void
on_output(UNUSED unsigned console)
{
	console_is_away = console_take_output() < 0;
}

static void
on_room(UNUSED unsigned console)
{
	console_flush_input();
}

static void
on_away(UNUSED unsigned console)
{
	console_is_away = true;
}

/* --- the alarm ----------------------------------------------------------- */

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
on_alarm(UNUSED unsigned source)
{
	bool rings = alarm_rings();

	if (rings)
		alarm_answer(alarm_bell.st);
	alarm_bell.deaf_until_ms = now_ms() +
				   (rings ? ANSWERED_MS : FOR_NOTHING_MS);
}

/* How long poll(2) may wait. */
static int
patience_ms(void)
{
	int64_t deaf, patience = console_is_away ? LOOK_AGAIN_MS : -1;

	if (alarm_bell.deaf_until_ms == 0)
		return (int)patience;
	deaf = alarm_bell.deaf_until_ms - now_ms();
	if (deaf <= 0 && alarm_is_answered()) {
		alarm_bell.deaf_until_ms += ANSWERED_MS - deaf;
		deaf = ANSWERED_MS;
	}
	if (deaf <= 0) {
		alarm_bell.deaf_until_ms = 0;
		polls[ALARM].fd = sources[ALARM].fd;
		return (int)patience;
	}
	return (int)(patience >= 0 && patience < deaf ? patience : deaf);
}

/* --- init ---------------------------------------------------------------- */

static void
on_end(UNUSED unsigned source)
{
	init.ended = true;
}

/* SIGTERM, from the host that shuts down, or from who found that SIGKILL does
 * not end init: nobody waits for its end here, all is killed (undo_kill). */
static void
on_sigterm(unsigned signals)
{
	struct signalfd_siginfo info;

	if (read(sources[signals].fd, &info, sizeof info) < 0)
		return;
	init.state = STOPPING;
	sys_pidfd_send_signal(sources[INIT].fd, SIGKILL);
	init.ended = init.killed = true;
}

/* --- the table ----------------------------------------------------------- */

typedef void reaction(unsigned source);

static reaction *const REACT[SOURCE_STATES][EVENTS] = {
	/*		READABLE    WRITABLE  HANGUP */
	[RUNS]	    = { on_end,	    NULL,     on_end },
	[SIGNALLED] = { on_sigterm, NULL,     NULL },
	[LISTENS]   = { on_connect, NULL,     NULL },
	[TERMINAL]  = { on_output,  on_room,  on_away },
	[RINGS]	    = { on_alarm,   NULL,     on_alarm },
	[ASKS]	    = { on_request, NULL,     drop },
	[WAITS]	    = { drop,	    NULL,     drop },
	[STREAMS]   = { on_packet,  NULL,     drop },
};

/* A hang-up counts when all that was sent before it has been read. */
static void
react(unsigned source, short events)
{
	reaction *const *row = REACT[sources[source].state];

	if ((events & POLLOUT) != 0 && row[WRITABLE] != NULL)
		row[WRITABLE](source);
	if ((events & POLLIN) != 0)
		row[READABLE](source);
	else if ((events & (POLLHUP | POLLERR)) != 0 && row[HANGUP] != NULL)
		row[HANGUP](source);
}

/* What is not to be heard of gets -1, and not just no events: poll(2) tells of
 * a hang-up all the same. While the terminal does not take its input, those
 * who send it are not read, not even that they have gone. */
static void
choose_events(void)
{
	bool full = console_has_input();
	bool has_room = false;

	for (unsigned i = CLIENT; i < SOURCES; i++)
		has_room |= sources[i].fd < 0;
	for (unsigned i = 0; i < SOURCES; i++) {
		polls[i].fd = sources[i].fd;
		polls[i].events = POLLIN;
		if (full && sources[i].state == STREAMS)
			polls[i].fd = -1;
	}
	if (!has_room)	/* who comes now waits in the queue */
		polls[LISTENER].fd = -1;
	if (full)
		polls[CONSOLE].events |= POLLOUT;
	if (console_is_away)
		polls[CONSOLE].fd = -1;
	polls[ALARM].events = alarm_bell.event;
	if (alarm_bell.deaf_until_ms != 0)
		polls[ALARM].fd = -1;
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
monitor_watch(struct state *st, int listener, int console, int alarm)
{
	int ready;

	init.pid = st->child;
	begin(INIT, RUNS, st->pidfd);
	begin(SIGNALS, SIGNALLED, open_signals());
	begin(LISTENER, LISTENS, listener);
	begin(CONSOLE, TERMINAL, console);
	begin(ALARM, RINGS, alarm);
	alarm_bell.st = st;
	alarm_bell.event = alarm_open(alarm);
	for (unsigned i = CLIENT; i < SOURCES; i++)
		begin(i, ASKS, -1);
	while (!init.ended) {
		choose_events();
		ready = poll(polls, SOURCES, patience_ms());
		console_is_away = false;
		for (unsigned i = 0; ready > 0 && i < SOURCES; i++)
			if (sources[i].fd >= 0)
				react(i, polls[i].revents);
	}
	while (console >= 0 && console_take_output() > 0)
		continue;
	/* From here on nobody is listening: who connects is told so. */
	if (listener >= 0)
		drop(LISTENER);
	alarm_close();
}

bool
monitor_is_stopping(void)
{
	return init.state == STOPPING;
}

bool
monitor_is_to_kill(void)
{
	return init.killed;
}

void
monitor_farewell(int result, int status)
{
	for (unsigned i = CLIENT; i < SOURCES; i++)
		if (sources[i].fd >= 0 && sources[i].state == WAITS)
			answer(i, result, status, -1);
}
